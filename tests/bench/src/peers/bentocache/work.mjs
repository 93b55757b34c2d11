// The workloads, as far as one instance has a part in them.
import { writeFileSync } from 'node:fs'
import { setImmediate as breathe, setTimeout as sleep } from 'node:timers/promises'

/** Nanoseconds of the monotonic clock, which all processes of a machine share. */
const now = () => Number(process.hrtime.bigint())
const micros = (from) => Math.round((now() - from) / 1000)

/** Asks without a pause until an answer reflects the version; null if `state.stop` comes first. */
export async function watch(store, { tenant, version }, state) {
  while (!state.stop) {
    const seen = await store.read(tenant)
    if (seen !== null && seen >= version) return { at: now() }
    // A hit in memory never lets go of the event loop, and then no message of the bus would arrive.
    await breathe()
  }
  return { at: null }
}

/** Writes the bodies one after the other. */
export async function write(store, { tenant, bodies }) {
  for (const body of bodies) await store.write(tenant, body)
  return { at: now() }
}

/** That many callers of one key at once. */
export async function crowd(store, { tenant, callers }) {
  let failed = 0
  const took = await Promise.all(
    Array.from({ length: callers }, async () => {
      const from = now()
      if ((await store.read(tenant).catch(() => null)) === null) failed++
      return now() - from
    }),
  )
  return { took, failed }
}

/** Asks for these tenants in this order, by some callers at once. */
export async function sweep(store, { tenants, callers }) {
  const from = now()
  const before = process.memoryUsage().rss
  let next = 0
  let failed = 0
  const caller = async () => {
    while (next < tenants.length) await store.read(tenants[next++]).catch(() => failed++)
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return { took: now() - from, grown: process.memoryUsage().rss - before, failed }
}

const [FRESH, FAILED] = [0, 1]

/**
 * Callers of warm tenants without a pause and callers of cold ones with one, until `state.stop`.
 * Each call becomes three numbers in the files: start and duration in microseconds, outcome.
 */
export async function load(store, { warm, cold, warmCallers, coldCallers, pauseMs, files }, state) {
  const from = now()
  const ask = async (tenant, into) => {
    const began = now()
    const outcome = await store.read(tenant).then(() => FRESH, () => FAILED)
    into.push(Math.round((began - from) / 1000), micros(began), outcome)
  }
  const logs = { warm: [], cold: [] }
  let nextCold = 0
  const warmCaller = async (number) => {
    for (let turn = number; !state.stop; turn++) {
      await ask(warm[turn % warm.length], logs.warm)
      await breathe()
    }
  }
  const coldCaller = async () => {
    while (!state.stop) {
      await ask(cold[nextCold++ % cold.length], logs.cold)
      await sleep(pauseMs)
    }
  }
  await Promise.all([
    ...Array.from({ length: warmCallers }, (_, number) => warmCaller(number)),
    ...Array.from({ length: coldCallers }, coldCaller),
  ])
  for (const kind of ['warm', 'cold']) writeFileSync(files[kind], Uint32Array.from(logs[kind]))
  return {}
}

// One instance of bentocache before Postgres: a record by its tenant, and what a write does. What is
// set beyond the defaults is in its favour:
// - room for more entries than any workload has (the default is 1,000). Entries stay serialised in
//   memory, as by default: without that, 1.6.1 fails on what it took from Redis;
// - with `deadlines`, for the workloads with hung servers: commands to Redis are given up after 20 ms
//   and reads of Postgres after 500 ms, as Ordain does (by default they are waited for), and Redis is
//   left alone for a second after a failure (by default it is asked each time). Not for the others: a
//   delete that was given up on a busy machine would be a stale answer of our making.
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import { Redis } from 'ioredis'
import pg from 'pg'

export function open({ postgres, redis, deadlines }) {
  const origin = new pg.Pool({ ...postgres, max: 16 })
  // A connection that breaks while it is idle is replaced; without a listener it would end us.
  origin.on('error', () => {})
  const connect = (options) => {
    const client = new Redis({ path: redis, ...options })
    client.on('error', () => {})
    return client
  }
  // The bus subscribes without waiting for the outcome: a deadline there would end the process.
  const store = bentostore()
    .useL1Layer(memoryDriver({ maxItems: 100_000 }))
    .useL2Layer(redisDriver({ connection: connect(deadlines && { commandTimeout: 20 }) }))
    .useBus(redisBusDriver({ connection: connect() }))
  const cache = new BentoCache({
    default: 'policies',
    stores: { policies: store },
    ttl: '300s',
    ...(deadlines && { hardTimeout: '500ms', l2CircuitBreakerDuration: '1s' }),
  })

  const fetch = async (tenant) => {
    const { rows } = await origin.query('SELECT body FROM peer_policies WHERE tenant = $1', [tenant])
    // null is cached like any value; undefined would be an error.
    return rows.length ? JSON.parse(rows[0].body) : null
  }

  return {
    /** The version of the tenant's record, null if there is none. */
    async read(tenant) {
      const record = await cache.getOrSet({ key: tenant, factory: () => fetch(tenant) })
      return record === null ? null : Number(record.defaultModel.slice('model-'.length))
    },
    /** As its documentation has it: the origin first, then `delete`, which tells the others by the bus. */
    async write(tenant, body) {
      await origin.query(
        'INSERT INTO peer_policies (tenant, body) VALUES ($1, $2) ' +
          'ON CONFLICT (tenant) DO UPDATE SET body = excluded.body',
        [tenant, body],
      )
      await cache.delete({ key: tenant })
    },
  }
}

// One instance in a process of its own, told by JSON lines on standard input what to do and answering
// on standard output. Several commands may be under way; `id` tells whose answer it is. It ends with
// its input.
import { createInterface } from 'node:readline'

import { open } from './store.mjs'
import * as work from './work.mjs'

let store
let state = { stop: false }

const commands = {
  open: (options) => {
    store = open(options)
    return {}
  },
  read: async ({ tenant }) => ({ version: await store.read(tenant) }),
  stop: () => {
    state.stop = true
    return {}
  },
}
for (const name of ['watch', 'write', 'crowd', 'sweep', 'load']) {
  commands[name] = (options) => {
    if (name === 'watch' || name === 'load') state = { stop: false }
    return work[name](store, options, state)
  }
}

const input = createInterface({ input: process.stdin })
input.on('line', async (line) => {
  const { id, command, ...options } = JSON.parse(line)
  let answer
  try {
    answer = await commands[command](options)
  } catch (error) {
    answer = { error: String(error?.stack ?? error) }
  }
  process.stdout.write(JSON.stringify({ id, ...answer }) + '\n')
})
input.on('close', () => process.exit())

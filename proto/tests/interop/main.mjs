// Answers one JSON line with one JSON line, so that a test in another language can drive histories:
// {"ask": "history", "seed"} {"ask": "step2", "peer", "vector"} {"ask": "compare", "state"}; bytes are hex.

import { createInterface } from 'node:readline'
import { History } from './history.mjs'

const hex = bytes => Buffer.from(bytes).toString('hex')
const bytes = text => new Uint8Array(Buffer.from(text, 'hex'))

let history = null

const answer = ask => {
  switch (ask.ask) {
    case 'history':
      history = new History(ask.seed)
      return { deliveries: history.deliveries.map(({ peer, update }) => ({ peer, update: hex(update) })), peers: history.peers.length }
    case 'step2':
      return { update: hex(history.step2(ask.peer, bytes(ask.vector))) }
    case 'compare':
      return history.compare(bytes(ask.state))
    default:
      throw new Error(`unknown ask ${ask.ask}`)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + '\n')
}

/** Hocuspocus and y-sweet clients on three nodes: a document is one, at whichever node and door. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS } from '../helpers/hocuspocus.js'
import { gone, seen } from '../helpers/presence.js'
import { sleep, until } from '../helpers/wait.js'
import { YSWEET } from '../helpers/ysweet.js'

const [, ...nodes] = process.env.DRIFTLESS_CLUSTER.split(',').map(address => ({
  url: `ws://${address}/ws`
}))

/** Long enough for what must not come. */
const QUIET_MS = 500

for (const client of [...HOCUSPOCUS, YSWEET]) {
  test(`${client.name}: edits and presence cross nodes`, async t => {
    const document = `door-${client.name.replaceAll(/[^a-z0-9]/g, '-')}`
    const peers = await Promise.all(nodes.map(node => join(t, client, node, document)))
    const plain = await join(t, CLIENTS[0], nodes[0], document)
    peers.forEach((peer, at) => peer.present({ at }))
    for (let round = 0; round < 20; round++) {
      peers.forEach(peer => peer.append('.'))
      await sleep(5)
    }
    // Dots are all alike: who has equally many may lack different ones.
    await until('all have all', () =>
      [plain, ...peers].every(peer => peer.text.length === 20 * nodes.length))
    await Promise.all(peers.map(peer => peer.saved()))
    await converged(plain, ...peers)
    for (const watcher of [plain, ...peers]) {
      await Promise.all(peers.map((peer, at) => seen(watcher, peer, { at })))
    }
    peers[2].destroy()
    await gone(peers[0], peers[2])
    await gone(plain, peers[2])
  })
}

test('stateless messages reach the document\'s sessions on all nodes, once', async t => {
  const heard = []
  const listener = name => ({ onStateless: ({ payload }) => heard.push(`${name}: ${payload}`) })
  const peers = []
  for (const [at, node] of nodes.entries()) {
    for (const client of HOCUSPOCUS) {
      peers.push(await join(t, client, node, 'stateless', listener(`${at} ${client.name}`)))
    }
    await join(t, HOCUSPOCUS[2], node, 'elsewhere', listener('elsewhere'))
  }
  peers[0].provider.sendStateless('hello')
  await until('all heard', () => heard.length >= peers.length - 1)
  await sleep(QUIET_MS)
  const others = nodes.flatMap((_, at) => HOCUSPOCUS.map(client => `${at} ${client.name}: hello`)).slice(1)
  assert.deepEqual(heard.sort(), others.sort())
})

/**
 * Unmodified clients on three nodes: each client is at a node of its own, or comes through the balancer.
 * `server/tests/javascript.rs` starts the cluster and says where it is.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { gone, seen } from '../helpers/presence.js'
import { sleep, until } from '../helpers/wait.js'

const [balancer, ...nodes] = process.env.DRIFTLESS_CLUSTER.split(',').map(address => ({
  url: `ws://${address}/ws`
}))

/** Longer than the grace time after which who is gone is gone. */
const GRACE_MS = 8_000

/** Notes every moment in which a peer is not there for a watcher. */
function watch (watcher, peer) {
  const vanished = []
  const look = ({ removed }) => {
    if (removed.includes(peer.id)) vanished.push(new Date().toISOString())
  }
  watcher.awareness.on('change', look)
  return vanished
}

for (const client of CLIENTS) {
  test(`${client.name}: edits and presence cross nodes`, async t => {
    const document = `cross-${client.name}`
    const peers = await Promise.all(nodes.map(node => join(t, client, node, document)))
    const through = await join(t, CLIENTS[0], balancer, document)
    peers.forEach((peer, at) => peer.present({ at }))
    for (let round = 0; round < 20; round++) {
      peers.forEach((peer, at) => {
        peer.append(`${at}`)
        peer.set(`${at}-${round}`, round)
      })
      await sleep(5)
    }
    await converged(through, ...peers)
    assert.equal(peers[0].text.length, 20 * nodes.length)
    await Promise.all(peers.map((peer, at) => seen(through, peer, { at })))
    await Promise.all(peers.map((peer, at) => seen(peers[0], peer, { at })))
    peers[2].awareness.setLocalState(null)
    await gone(peers[0], peers[2])
    await gone(through, peers[2])
  })

  test(`${client.name}: who moves to another node never vanishes, and leaves no ghost`, async t => {
    const document = `move-${client.name}`
    const watchers = await Promise.all(nodes.map(node => join(t, CLIENTS[0], node, document)))
    const mover = await join(t, client, nodes[0], document)
    mover.present({ name: 'mover' })
    await Promise.all(watchers.map(watcher => seen(watcher, mover, { name: 'mover' })))
    const vanished = watchers.map(watcher => watch(watcher, mover))
    for (const [round, node] of [1, 2, 0, 1].entries()) {
      const { provider } = mover
      provider.serverUrl = nodes[node].url
      if (round % 2) mover.cut()
      else {
        mover.disconnect()
        mover.connect()
      }
      await until('it is back', () => provider.wsconnected && provider.synced)
      mover.present({ name: 'mover', round })
      await Promise.all(watchers.map(watcher => seen(watcher, mover, { name: 'mover', round })))
    }
    await sleep(GRACE_MS)
    assert.deepEqual(vanished.flat(), [], 'nobody saw it leave')
    mover.provider.shouldConnect = false
    mover.cut()
    await Promise.all(watchers.map(watcher => gone(watcher, mover)))
  })
}

test('what was written offline reaches all nodes through another one', async t => {
  const [first, second] = nodes
  const document = 'offline'
  const one = await join(t, CLIENTS[0], first, document)
  const two = await join(t, CLIENTS[0], second, document)
  one.append('a')
  await converged(one, two)
  two.disconnect()
  two.append('written offline')
  one.append('b')
  two.provider.serverUrl = nodes[2].url
  two.connect()
  await converged(one, two)
  assert.match(one.text, /written offline/)
})

/** Presence: who is here appears, changes, leaves, and survives a reconnect, in every client. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CLIENTS, PAIRS, join } from '../helpers/clients.js'
import { gone, seen } from '../helpers/presence.js'
import { sharedServer } from '../helpers/server.js'
import { sleep, until } from '../helpers/wait.js'

const server = sharedServer()

for (const [index, [first, second]] of PAIRS.entries()) {
  test(`${first.name} and ${second.name} see each other come, change and go`, async t => {
    const document = `presence-${index}`
    const one = await join(t, first, server, document)
    one.present({ name: 'one', at: 0 })
    const two = await join(t, second, server, document)
    await seen(two, one, { name: 'one', at: 0 })
    two.present({ name: 'two' })
    await seen(one, two, { name: 'two' })
    one.present({ name: 'one', at: 7 })
    await seen(two, one, { name: 'one', at: 7 })
    one.destroy()
    await gone(two, one)
    assert.deepEqual(two.sees(two), { name: 'two' })
  })
}

describe('a connection that breaks', { concurrency: true }, () => {
  for (const [index, client] of CLIENTS.entries()) {
    test(`${client.name} leaves when its socket dies for good`, async t => {
      const document = `dies-${index}`
      const one = await join(t, client, server, document)
      one.present({ name: 'one' })
      const two = await join(t, CLIENTS[0], server, document)
      await seen(two, one, { name: 'one' })
      one.provider.shouldConnect = false
      one.cut()
      await gone(two, one)
    })

    test(`${client.name} is present again soon after a reconnect, and stays`, async t => {
      const document = `reconnect-${index}`
      const one = await join(t, client, server, document)
      one.present({ name: 'one' })
      const two = await join(t, CLIENTS[0], server, document)
      two.present({ name: 'two' })
      await seen(two, one, { name: 'one' })
      one.cut()
      await until('the socket is noticed to be gone', () => !one.provider.wsconnected)
      await one.synced()
      await seen(two, one, { name: 'one' })
      await seen(one, two, { name: 'two' })
      // Longer than any grace time of the old socket: its end must not take the new one along.
      await sleep(6_000)
      assert.deepEqual(two.sees(one), { name: 'one' })
      assert.deepEqual(one.sees(two), { name: 'two' })
    })
  }
})

test('a leave by one client reaches those who heard of it through others', async t => {
  const peers = []
  for (const client of CLIENTS) peers.push(await join(t, client, server, 'crowd'))
  peers.forEach((peer, index) => peer.present({ name: `${index}` }))
  for (const watcher of peers) {
    for (const [index, peer] of peers.entries()) await seen(watcher, peer, { name: `${index}` })
  }
  peers[1].present(null)
  await gone(peers[0], peers[1])
  await gone(peers[2], peers[1])
})

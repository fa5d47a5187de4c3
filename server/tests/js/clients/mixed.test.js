/** Every client of every dialect in one document: each door leads to the same place. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS } from '../helpers/hocuspocus.js'
import { gone, seen } from '../helpers/presence.js'
import { edit, generator, seed } from '../helpers/random.js'
import { sharedServer } from '../helpers/server.js'
import { sleep } from '../helpers/wait.js'
import { YSWEET } from '../helpers/ysweet.js'

const ALL = [...HOCUSPOCUS, YSWEET, ...CLIENTS]

const server = sharedServer()

async function scribble (peers, rounds, random) {
  for (let round = 0; round < rounds; round++) {
    for (const peer of peers) edit(peer, random)
    if (round % 7 === 0) await sleep(5)
  }
}

const allSeen = (peers, state) => Promise.all(peers.flatMap(watcher =>
  peers.map((peer, index) => seen(watcher, peer, state(peer, index)))))

test(`all clients edit one document with presence, seed ${seed}`, async t => {
  const random = generator(seed)
  const peers = []
  for (const client of ALL) peers.push(await join(t, client, server, 'mixed'))
  const name = peer => ({ user: { name: peer.client.name } })
  peers.forEach(peer => peer.present(name(peer)))
  await allSeen(peers, name)

  await scribble(peers, 40, random)
  await converged(...peers)
  assert.ok(peers[0].text.length > 0)

  const moved = (peer, index) => ({ ...name(peer), cursor: index })
  peers.forEach((peer, index) => peer.present(moved(peer, index)))
  await allSeen(peers, moved)

  while (peers.length > 1) {
    const leaving = peers.shift()
    leaving.destroy()
    await Promise.all(peers.map(peer => gone(peer, leaving)))
  }
  const late = await join(t, HOCUSPOCUS[2], server, 'mixed')
  await converged(late, ...peers)
})

test(`all clients merge what they wrote apart, seed ${seed}`, async t => {
  const random = generator(seed + 1)
  const peers = []
  for (const client of ALL) peers.push(await join(t, client, server, 'apart'))
  await scribble(peers, 10, random)
  await converged(...peers)
  await Promise.all(peers.map(peer => peer.disconnect()))
  await scribble(peers, 20, random)
  assert.notEqual(peers[0].state, peers[1].state)
  peers.forEach(peer => peer.connect())
  await converged(...peers)
})

test(`all clients converge through cuts, seed ${seed}`, async t => {
  const random = generator(seed + 2)
  const peers = []
  for (const client of ALL) peers.push(await join(t, client, server, 'cuts'))
  for (let round = 0; round < 10; round++) {
    await scribble(peers, 5, random)
    peers[Math.floor(random() * peers.length)].cut()
    await scribble(peers, 5, random)
  }
  await converged(...peers)
})

describe('a connection that breaks', { concurrency: true }, () => {
  for (const client of ALL) {
    test(`${client.name} leaves for all when its socket dies for good`, async t => {
      const document = `dies-${ALL.indexOf(client)}`
      const dying = await join(t, client, server, document)
      dying.present({ name: 'dying' })
      const peers = []
      for (const other of ALL) peers.push(await join(t, other, server, document))
      await Promise.all(peers.map(peer => seen(peer, dying, { name: 'dying' })))
      dying.stayAway()
      dying.cut()
      await Promise.all(peers.map(peer => gone(peer, dying)))
    })

    test(`${client.name} is present again soon after a reconnect`, async t => {
      const document = `back-${ALL.indexOf(client)}`
      const back = await join(t, client, server, document)
      back.present({ name: 'back' })
      const watcher = await join(t, CLIENTS[0], server, document)
      watcher.present({ name: 'watcher' })
      await seen(watcher, back, { name: 'back' })
      const { closes } = back
      back.cut()
      await back.closed(closes + 1)
      await back.synced()
      await seen(watcher, back, { name: 'back' })
      await seen(back, watcher, { name: 'watcher' })
      // Longer than any grace time of the old socket: its end must not take the new one along.
      await sleep(6_000)
      assert.deepEqual(watcher.sees(back), { name: 'back' })
    })
  }
})

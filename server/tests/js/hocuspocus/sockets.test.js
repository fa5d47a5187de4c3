/** Many documents over one socket: they come, go and come back without each other's notice. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS, HocuspocusPeer, sharedSocket } from '../helpers/hocuspocus.js'
import { gone, seen } from '../helpers/presence.js'
import { sharedServer, startServer } from '../helpers/server.js'
import { sleep, until } from '../helpers/wait.js'

/** Long enough for what must not come. */
const QUIET_MS = 300

/** What the server of Hocuspocus takes before it has answered the first. */
const MANY = 100

const NAMES = ['a/b', 'a//b/', '/', ' ', 'a b+c', '%2F', '%C3%A9', 'été', 'größer/🌍', '?x=y#z', '..', '../a',
  'x'.repeat(512), 'é'.repeat(256)]

const server = sharedServer()

for (const client of HOCUSPOCUS) {
  describe(client.name, () => {
    const document = name => `${name}-${client.generation}`

    test('documents on one socket are kept apart', async t => {
      const socket = sharedSocket(t, client, server)
      const mine = await Promise.all(['x', 'y', 'z'].map(name => join(t, client, server, document(name), { socket })))
      const theirs = await Promise.all(['x', 'y', 'z'].map(name => join(t, CLIENTS[0], server, document(name))))
      for (const [index, peer] of mine.entries()) peer.append(`mine ${index}.`)
      for (const [index, peer] of theirs.entries()) peer.append(`theirs ${index}.`)
      for (const [index, peer] of mine.entries()) {
        await converged(peer, theirs[index])
        await peer.saved()
        assert.equal(peer.text.length, `mine ${index}.theirs ${index}.`.length)
        assert.ok(peer.text.includes(`mine ${index}.`) && peer.text.includes(`theirs ${index}.`))
      }
      assert.equal(mine[0].closes, 0)
    })

    test('one document leaves its socket and comes back while another goes on', async t => {
      const socket = sharedSocket(t, client, server)
      const leaver = await join(t, client, server, document('leaves'), { socket })
      const stayer = await join(t, client, server, document('stays'), { socket })
      const watchers = [
        await join(t, CLIENTS[0], server, document('leaves')),
        await join(t, CLIENTS[0], server, document('stays'))
      ]
      leaver.present({ name: 'leaver' })
      stayer.present({ name: 'stayer' })
      await seen(watchers[0], leaver, { name: 'leaver' })
      await seen(watchers[1], stayer, { name: 'stayer' })

      leaver.detach()
      await gone(watchers[0], leaver)
      leaver.append('mine')
      watchers[0].append('theirs')
      stayer.append('goes on')
      await converged(stayer, watchers[1])
      await stayer.saved()
      await sleep(QUIET_MS)
      assert.equal(leaver.text, 'mine')
      assert.equal(watchers[0].text, 'theirs')
      assert.deepEqual(watchers[1].sees(stayer), { name: 'stayer' })

      leaver.attach()
      await converged(leaver, watchers[0])
      await leaver.saved()
      leaver.present({ name: 'back' })
      await seen(watchers[0], leaver, { name: 'back' })
      leaver.append('!')
      await leaver.saved()
      await converged(leaver, watchers[0])
      assert.equal(socket.status, 'connected')
      assert.equal(stayer.closes, 0)
    })

    test('a destroyed provider leaves its document to the next one on the socket', async t => {
      const socket = sharedSocket(t, client, server)
      for (let round = 0; round < 5; round++) {
        const peer = await join(t, client, server, document('again'), { socket })
        peer.append('.')
        await peer.saved()
        assert.equal(peer.text.length, round + 1)
        peer.destroy()
      }
    })

    test(`${MANY} documents are opened at once on one socket`, async t => {
      const [writing, reading] = [sharedSocket(t, client, server), sharedSocket(t, client, server)]
      const open = socket => Array.from({ length: MANY }, (_, index) => {
        const peer = new HocuspocusPeer(client, server, document(`many-${index}`), { socket })
        t.after(() => peer.destroy())
        return peer
      })
      const writers = open(writing)
      for (const [index, writer] of writers.entries()) writer.set('index', index)
      await Promise.all(writers.map(writer => writer.saved()))
      const readers = open(reading)
      await Promise.all(readers.map(reader => reader.synced()))
      for (const [index, reader] of readers.entries()) assert.deepEqual(reader.entries, { index })
      for (const [index, reader] of readers.entries()) reader.set('answer', index)
      await Promise.all(writers.map((writer, index) => converged(writer, readers[index])))
      await Promise.all([...writers, ...readers].map(peer => peer.saved()))
      assert.deepEqual([writers[0].closes, readers[0].closes], [0, 0])
    })

    test('names are taken as they are, and are the same at the other door', async t => {
      const socket = sharedSocket(t, client, server)
      const prefix = `${client.generation}`
      const peers = []
      // One byte is taken by the prefix that keeps the generations apart.
      for (const name of NAMES.map(name => prefix + name.slice(name.length > 100 ? 1 : 0))) {
        const peer = await join(t, client, server, name, { socket })
        peer.append(name)
        peers.push([name, peer])
      }
      await Promise.all(peers.map(([, peer]) => peer.saved()))
      for (const [name] of peers) {
        const reader = await join(t, CLIENTS[0], server, encodeURIComponent(name))
        assert.equal(reader.text, name)
      }
    })

    test('a name that is none is refused, and the socket goes on', async t => {
      const socket = sharedSocket(t, client, server)
      const stayer = await join(t, client, server, document('honest'), { socket })
      for (const name of ['', 'x'.repeat(513)]) {
        const reasons = []
        const peer = new HocuspocusPeer(client, server, name, {
          socket, token: 'any', onAuthenticationFailed: ({ reason }) => reasons.push(reason)
        })
        t.after(() => peer.destroy())
        await until('it is refused', () => reasons.length > 0)
        assert.ok(reasons[0].length > 0)
        assert.equal(peer.isSynced, false)
      }
      stayer.append('.')
      await stayer.saved()
      assert.equal(stayer.closes, 0)
    })
  })
}

describe('hocuspocus 4.8 with session awareness', () => {
  const client = HOCUSPOCUS[2]

  test('is twice in one document over one socket', async t => {
    const socket = sharedSocket(t, client, server)
    const heard = [[], []]
    const [one, two] = await Promise.all(heard.map(payloads => join(t, client, server, 'twice', {
      socket, sessionAwareness: true, onStateless: ({ payload }) => payloads.push(payload)
    })))
    const watcher = await join(t, CLIENTS[0], server, 'twice')
    one.present({ name: 'one' })
    two.present({ name: 'two' })
    await seen(two, one, { name: 'one' })
    await seen(one, two, { name: 'two' })
    await seen(watcher, one, { name: 'one' })
    await seen(watcher, two, { name: 'two' })
    one.append('a')
    two.append('b')
    watcher.append('c')
    await converged(one, two, watcher)
    await Promise.all([one.saved(), two.saved()])
    assert.equal(one.text.length, 3)
    one.provider.sendStateless('hello')
    await until('the other heard', () => heard[1].length === 1)
    await sleep(QUIET_MS)
    assert.deepEqual(heard, [[], ['hello']])

    one.destroy()
    await gone(watcher, one)
    await gone(two, one)
    two.append('d')
    await two.saved()
    await converged(two, watcher)
    assert.deepEqual(watcher.sees(two), { name: 'two' })
    assert.equal(two.closes, 0)
  })

  test('shares a socket with one that has no session', async t => {
    const socket = sharedSocket(t, client, server)
    const plain = await join(t, client, server, 'both', { socket })
    const aware = await join(t, client, server, 'both', { socket, sessionAwareness: true })
    plain.append('plain')
    aware.append('aware')
    await converged(plain, aware)
    await Promise.all([plain.saved(), aware.saved()])
    assert.equal(plain.text.length, 'plainaware'.length)
  })
})

test('a server that was killed comes back to what was written meanwhile, on all sockets', async t => {
  const server = await startServer(t)
  const peers = []
  for (const client of HOCUSPOCUS) {
    const socket = sharedSocket(t, client, server)
    peers.push(
      await join(t, client, server, 'shared', { socket }),
      await join(t, client, server, `own-${client.generation}`, { socket })
    )
  }
  peers.forEach((peer, index) => peer.set(`before-${index}`, index))
  await Promise.all(peers.map(peer => peer.saved()))
  const shared = peers.filter((_, index) => index % 2 === 0)
  await converged(...shared)
  await server.kill()
  peers.forEach((peer, index) => peer.set(`meanwhile-${index}`, index))
  assert.ok(peers.every(peer => peer.unsynced > 0))
  await server.start()
  await Promise.all(peers.map(peer => peer.saved()))
  peers.forEach((peer, index) => peer.set(`after-${index}`, index))
  await Promise.all(peers.map(peer => peer.saved()))
  await converged(...shared)
  const keys = shared.flatMap((_, at) => ['before', 'meanwhile', 'after'].map(when => `${when}-${2 * at}`))
  const late = await join(t, CLIENTS[0], server, 'shared')
  assert.deepEqual(Object.keys(late.entries), keys.sort())
  for (const [index, peer] of peers.entries()) {
    if (index % 2 === 0) continue
    const reader = await join(t, CLIENTS[0], server, `own-${peer.client.generation}`)
    assert.equal(Object.keys(reader.entries).length, 3)
  }
})

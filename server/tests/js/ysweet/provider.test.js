/** The y-sweet client as an app uses it: its token from a backend, its status, and what it says is saved. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { sharedServer, startServer } from '../helpers/server.js'
import { sleep, until } from '../helpers/wait.js'
import { YSWEET, YSweetPeer, authEndpoint, manager } from '../helpers/ysweet.js'

/** More than the 3 s without an answer after which the client gives a connection up. */
const PATIENT_MS = 8_000

const server = sharedServer()

test('an app gets its client token from its backend and is told how it goes', async t => {
  const backend = await authEndpoint(t, docId => manager(server).getOrCreateDocAndToken(docId))
  const peer = new YSweetPeer(YSWEET, server, 'status', { authEndpoint: backend.url })
  t.after(() => peer.destroy())
  const compatible = []
  peer.provider.on('status', ({ status }) => compatible.push(status))
  const synced = []
  peer.provider.on('sync', is => synced.push(is))
  await peer.synced()
  assert.equal(backend.asked, 1)
  assert.deepEqual(peer.statuses, ['handshaking', 'connected'])
  assert.deepEqual(compatible, ['connected'])
  assert.deepEqual(synced, [true])
  assert.equal(peer.provider.clientToken.docId, 'status')
  await peer.saved()
  const reader = await join(t, CLIENTS[0], server, 'status')
  peer.append('hello')
  await converged(peer, reader)
  peer.cut()
  await until('it has noticed', () => peer.statuses.includes('error'))
  await peer.synced()
  assert.equal(backend.asked, 1, 'the token is good for more than one connection')
  peer.append('!')
  await converged(peer, reader)
})

test('local changes are told of when they begin and when they are saved', async t => {
  const peer = await join(t, YSWEET, server, 'changes')
  await peer.saved()
  const told = []
  peer.provider.on('local-changes', has => told.push(has))
  for (let round = 0; round < 3; round++) {
    peer.append('a')
    assert.ok(peer.provider.hasLocalChanges)
    peer.append('b')
    await peer.saved()
  }
  assert.deepEqual(told, [true, false, true, false, true, false])
})

test('a document where nothing happens keeps its connection', async t => {
  const peer = await join(t, YSWEET, server, 'heartbeat')
  peer.present(null)
  await peer.saved()
  await sleep(PATIENT_MS)
  assert.equal(peer.closes, 0)
  assert.equal(peer.connects, 1)
})

test('what was written offline is there after the reconnect', async t => {
  const server = await startServer(t)
  const peer = await join(t, YSWEET, server, 'offline')
  const other = await join(t, CLIENTS[0], server, 'offline')
  peer.append('before')
  await peer.saved()
  await converged(peer, other)
  await server.kill()
  await until('it has noticed', () => peer.closes > 0)
  peer.append(', offline')
  assert.ok(peer.provider.hasLocalChanges)
  await server.start()
  await peer.saved()
  assert.equal(peer.provider.status, 'connected')
  await converged(peer, other)
  assert.equal(other.text, 'before, offline')
})

test('a client token that came with the page needs no backend', async t => {
  const initialClientToken = await manager(server).getOrCreateDocAndToken('initial')
  const peer = await join(t, YSWEET, server, 'initial', {
    initialClientToken,
    authEndpoint: () => assert.fail('nobody needs to ask')
  })
  peer.append('x')
  await peer.saved()
})

/** Nothing counts as saved while the store stands still, and all of it once the store goes on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as Y from 'yjs'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS } from '../helpers/hocuspocus.js'
import { sharedServer } from '../helpers/server.js'
import { holdStore } from '../helpers/store.js'
import { sleep, until } from '../helpers/wait.js'
import { GOLDEN, probe, update, wire } from '../helpers/wire.js'
import { YSWEET, manager } from '../helpers/ysweet.js'

/** More than the 5 s for which a commit waits for the lock, so that one fails and is tried again. */
const HELD_MS = 7_000

/** For what needs no such failure. */
const HELD_BRIEFLY_MS = 2_000

const EDITS = 3

const SAVING = [...HOCUSPOCUS, YSWEET]

const server = sharedServer()

/** Fails if anything is told to be saved within the time. */
async function nothingSaved (peers, forMs) {
  const end = Date.now() + forMs
  while (Date.now() < end) {
    for (const peer of peers) assert.ok(!peer.isSaved, `${peer.client.name} believes to be saved`)
    await sleep(20)
  }
}

test('edits are unsaved until they are committed', async t => {
  const peers = []
  for (const client of SAVING) {
    peers.push(await join(t, client, server, 'held'), await join(t, client, server, `held-${SAVING.indexOf(client)}`))
  }
  const together = peers.filter((_, index) => index % 2 === 0)
  const plain = await wire(t, server, 'held')
  // Before it is answered nothing is known to be saved.
  plain.send(GOLDEN.step2Empty)
  await Promise.all(peers.map(peer => peer.saved()))

  const store = await holdStore(t, server)
  for (const peer of peers) for (let edit = 0; edit < EDITS; edit++) peer.append('.')
  const doc = new Y.Doc()
  doc.getMap('m').set('plain', 1)
  plain.send(update(Y.encodeStateAsUpdate(doc)))
  plain.send(probe(1))
  await nothingSaved(peers, HELD_MS)
  for (const peer of peers) {
    if (peer.unsynced !== undefined) assert.equal(peer.unsynced, EDITS)
    assert.equal(peer.closes, 0, `${peer.client.name} kept its connection`)
  }
  assert.equal(plain.savedVersion(), 0)
  await until('peers see each other\'s edits meanwhile', () =>
    together.every(peer => peer.text.length === EDITS * together.length))

  await store.release()
  await Promise.all([...peers.map(peer => peer.saved()), plain.saved(1)])
  await converged(...together)
  await server.kill()
  await server.start()
  const late = await join(t, CLIENTS[0], server, 'held')
  assert.equal(late.text.length, EDITS * together.length)
  assert.deepEqual(late.entries, { plain: 1 })
})

test('what was written offline is unsaved until it is committed', async t => {
  const peers = []
  for (const client of SAVING) peers.push(await join(t, client, server, `offline-${SAVING.indexOf(client)}`))
  await Promise.all(peers.map(peer => peer.saved()))
  await Promise.all(peers.map(peer => peer.disconnect()))
  peers.forEach(peer => { for (let edit = 0; edit < EDITS; edit++) peer.append('.') })
  const store = await holdStore(t, server)
  peers.forEach(peer => peer.connect())
  await Promise.all(peers.map(peer => peer.synced()))
  await nothingSaved(peers, HELD_BRIEFLY_MS)
  await store.release()
  await Promise.all(peers.map(peer => peer.saved()))
  for (const [index, peer] of peers.entries()) {
    const reader = await join(t, CLIENTS[0], server, `offline-${index}`)
    assert.equal(reader.text, peer.text)
  }
})

test('an update over HTTP is answered when it is committed', async t => {
  const backend = manager(server)
  await backend.createDoc('http')
  const doc = new Y.Doc()
  doc.getText('t').insert(0, 'http')
  const store = await holdStore(t, server)
  let answered = false
  const answer = backend.updateDoc('http', Y.encodeStateAsUpdate(doc)).then(() => { answered = true })
  await sleep(HELD_BRIEFLY_MS)
  assert.equal(answered, false)
  await store.release()
  await answer
})

/** The SDK of y-sweet as an app's backend uses it: documents are made, read and written over HTTP. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DocConnection, createDoc, getClientToken, getOrCreateDocAndToken } from '@y-sweet/sdk'
import * as Y from 'yjs'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { door, sharedServer, startServer } from '../helpers/server.js'
import { YSWEET, manager } from '../helpers/ysweet.js'

/** What y-sweet allows in the name of a document. */
const NAME = /^[A-Za-z0-9_-]+$/

const server = sharedServer()

function written (text) {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

function text (update) {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, update)
  return doc.getText('t').toString()
}

test('documents get a name of their own or the one that is asked for', async () => {
  const made = [await manager(server).createDoc(), await manager(server).createDoc()]
  assert.notEqual(made[0].docId, made[1].docId)
  for (const { docId } of made) assert.match(docId, NAME)
  assert.deepEqual(await manager(server).createDoc('asked-for_1'), { docId: 'asked-for_1' })
  assert.deepEqual(await manager(server).createDoc('asked-for_1'), { docId: 'asked-for_1' }, 'twice is once')
})

test('a client token says where to connect', async () => {
  const token = await manager(server).getOrCreateDocAndToken('where')
  assert.equal(token.docId, 'where')
  assert.equal(token.url, door(server, '/d/where/ws'))
  assert.equal(token.baseUrl, door(server, '/d/where', 'http:'))
  assert.equal(token.authorization ?? 'full', 'full')
  const { docId } = await manager(server).getOrCreateDocAndToken()
  assert.match(docId, NAME)
})

test('the connection string may be ys:// or http://', async () => {
  for (const string of [door(server, '', 'ys:'), door(server, '/', 'http:')]) {
    const { docId } = await createDoc(string, 'strings')
    assert.equal((await getClientToken(string, docId)).url, door(server, '/d/strings/ws'))
    assert.equal((await getOrCreateDocAndToken(string, 'strings')).docId, 'strings')
  }
})

test('a document is written and read without a socket, and its sessions see it', async t => {
  const backend = manager(server)
  await backend.createDoc('backend')
  await backend.updateDoc('backend', written('from the backend'))
  assert.equal(text(await backend.getDocAsUpdate('backend')), 'from the backend')
  const peers = [await join(t, YSWEET, server, 'backend'), await join(t, CLIENTS[0], server, 'backend')]
  assert.equal(peers[0].text, 'from the backend')
  peers[1].insert(0, '> ')
  await converged(...peers)
  await peers[0].saved()
  assert.equal(text(await backend.getDocAsUpdate('backend')), '> from the backend')
  const more = new Y.Doc()
  Y.applyUpdate(more, await backend.getDocAsUpdate('backend'))
  more.getMap('m').set('more', true)
  await backend.updateDoc('backend', Y.encodeStateAsUpdate(more))
  await converged(...peers)
  assert.deepEqual(peers[0].entries, { more: true })
})

test('a document is made with its content', async () => {
  const { docId } = await manager(server).createDocWithContent(written('content'))
  assert.equal(text(await manager(server).getDocAsUpdate(docId)), 'content')
})

test('an empty document is an empty update', async () => {
  await manager(server).createDoc('empty')
  assert.equal(text(await manager(server).getDocAsUpdate('empty')), '')
})

test('an update that was answered survives kill -9', async t => {
  const server = await startServer(t)
  for (let round = 0; round < 5; round++) {
    await manager(server).createDoc(`kept-${round}`)
    await manager(server).updateDoc(`kept-${round}`, written(`round ${round}`))
    await server.kill()
    await server.start()
    assert.equal(text(await manager(server).getDocAsUpdate(`kept-${round}`)), `round ${round}`)
  }
})

test('what is no update is refused with a status', async () => {
  const backend = manager(server)
  await backend.createDoc('broken')
  await backend.updateDoc('broken', written('good'))
  const connection = new DocConnection(await backend.getClientToken('broken'))
  await assert.rejects(connection.updateDoc(new Uint8Array([9, 8, 7, 6, 5, 4, 3, 2, 1])), error => {
    assert.equal(error.cause.code, 'ServerError')
    assert.ok(error.cause.status >= 400 && error.cause.status < 500, error.message)
    return true
  })
  assert.equal(text(await backend.getDocAsUpdate('broken')), 'good')
})

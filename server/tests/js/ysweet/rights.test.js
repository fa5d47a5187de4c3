/** The y-sweet door of a server with a key: server tokens, client tokens, and what each is good for. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DocConnection } from '@y-sweet/sdk'
import * as Y from 'yjs'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { gone, seen } from '../helpers/presence.js'
import { sharedServer } from '../helpers/server.js'
import { AUTHENTICATING, token } from '../helpers/tokens.js'
import { sleep, until } from '../helpers/wait.js'
import { YSWEET, YSweetPeer, authEndpoint, manager } from '../helpers/ysweet.js'

/** Long enough for what must not come. */
const QUIET_MS = 500

/** More than the 3 s without an answer after which the client gives a connection up. */
const PATIENT_MS = 6_000

const server = sharedServer(AUTHENTICATING)

/** What an app's backend holds. */
const backend = () => manager(server, token({ '*': 'admin' }))

const writer = (t, document) =>
  join(t, CLIENTS[0], server, document, { params: { token: token({ '*': 'write' }) } })

const update = text => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

const code = wanted => error => {
  assert.equal(error.cause?.code, wanted, error.message)
  return true
}

describe('server tokens', () => {
  test('none is no auth', async () => {
    await assert.rejects(manager(server).createDoc('none'), code('NoAuthProvided'))
    await assert.rejects(manager(server).getClientToken('none'), code('NoAuthProvided'))
  })

  test('one that was signed by somebody else is invalid', async () => {
    const forged = manager(server, token({ '*': 'admin' }, { secret: 'another secret, just as long as it must be' }))
    await assert.rejects(forged.createDoc('forged'), code('InvalidAuthProvided'))
    await assert.rejects(forged.getClientToken('forged'), code('InvalidAuthProvided'))
  })

  test('one that may only write hands out no client tokens', async () => {
    const lesser = manager(server, token({ '*': 'write' }))
    await assert.rejects(lesser.getClientToken('lesser'))
    const elsewhere = manager(server, token({ 'elsewhere-*': 'admin' }))
    await assert.rejects(elsewhere.getClientToken('lesser'))
    assert.equal((await elsewhere.getOrCreateDocAndToken('elsewhere-1')).docId, 'elsewhere-1')
  })
})

describe('client tokens', { concurrency: true }, () => {
  test('one for all lets write, over the socket and over HTTP', async t => {
    const insider = await writer(t, 'full')
    const peer = await join(t, YSWEET, server, 'full', { authEndpoint: () => backend().getOrCreateDocAndToken('full') })
    peer.present({ name: 'peer' })
    await seen(insider, peer, { name: 'peer' })
    peer.append('a')
    await peer.saved()
    await converged(peer, insider)
    const connection = new DocConnection(await backend().getClientToken('full'))
    await connection.updateDoc(update('b'))
    await until('both are there', () => insider.text.length === 2)
    peer.destroy()
    await gone(insider, peer)
  })

  test('one to read lets nothing else, and its connection holds', async t => {
    const insider = await writer(t, 'reading')
    insider.append('there')
    const reading = () => backend().getOrCreateDocAndToken('reading', { authorization: 'read-only' })
    assert.equal((await reading()).authorization, 'read-only')
    const peer = await join(t, YSWEET, server, 'reading', { authEndpoint: reading })
    await converged(peer, insider)
    await peer.saved()
    peer.append('forbidden')
    await sleep(PATIENT_MS)
    assert.ok(peer.provider.hasLocalChanges, 'what was refused is never saved')
    assert.equal(peer.closes, 0)
    assert.equal(insider.text, 'there')
    insider.append('!')
    await until('it reads on', () => peer.text.includes('!'))
    const connection = new DocConnection(await reading())
    const doc = new Y.Doc()
    Y.applyUpdate(doc, await connection.getAsUpdate())
    assert.equal(doc.getText('t').toString(), 'there!')
    await assert.rejects(connection.updateDoc(update('forbidden')))
    await sleep(QUIET_MS)
    assert.equal(insider.text, 'there!')
  })

  test('one for another document is good for nothing here', async t => {
    const insider = await writer(t, 'mine')
    insider.append('secret')
    const stranger = await backend().getOrCreateDocAndToken('stranger')
    const forged = { ...await backend().getClientToken('mine'), token: stranger.token }
    const connection = new DocConnection(forged)
    await assert.rejects(connection.getAsUpdate())
    await assert.rejects(connection.updateDoc(update('x')))
    const peer = new YSweetPeer(YSWEET, server, 'mine', { authEndpoint: async () => forged })
    t.after(() => peer.destroy())
    peer.append('intruded')
    await until('it is refused', () => peer.closes > 1)
    assert.equal(peer.text, 'intruded')
    assert.equal(insider.text, 'secret')
    assert.ok(!peer.statuses.includes('connected'))
  })

  test('none is good for nothing', async t => {
    const { token: _, ...without } = await backend().getOrCreateDocAndToken('without')
    await assert.rejects(new DocConnection(without).getAsUpdate(), code('NoAuthProvided'))
    const peer = new YSweetPeer(YSWEET, server, 'without', { authEndpoint: async () => without })
    t.after(() => peer.destroy())
    await until('it is refused', () => peer.closes > 1)
    assert.ok(!peer.statuses.includes('connected'))
  })

  test('one that expires is fetched anew, and what was written meanwhile is there', async t => {
    const insider = await writer(t, 'expires')
    const endpoint = await authEndpoint(t, docId =>
      backend().getOrCreateDocAndToken(docId, { validForSeconds: 3, userId: 'ada' }))
    const peer = await join(t, YSWEET, server, 'expires', { authEndpoint: endpoint.url })
    await until('it has expired', () => peer.closes > 0)
    peer.append('meanwhile')
    await peer.saved()
    await converged(peer, insider)
    assert.ok(endpoint.asked > 1)
  })

  test('a token of our own is taken as well', async t => {
    const own = { url: server.url.replace(/\/ws$/, '/d/own/ws'), docId: 'own', token: token({ own: 'write' }) }
    const peer = await join(t, YSWEET, server, 'own', { authEndpoint: async () => own })
    peer.append('own')
    await peer.saved()
    const insider = await writer(t, 'own')
    assert.equal(insider.text, 'own')
  })
})

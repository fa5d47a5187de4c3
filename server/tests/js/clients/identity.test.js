/** Presence that shows who somebody is: as every client sees it, forged by clients, and over reconnects. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { applyAwarenessUpdate, Awareness, encodeAwarenessUpdate } from 'y-protocols/awareness'
import { Doc } from 'yjs'
import { CLIENTS, join } from '../helpers/clients.js'
import { HOCUSPOCUS } from '../helpers/hocuspocus.js'
import { seen } from '../helpers/presence.js'
import { sharedServer } from '../helpers/server.js'
import { AUTHENTICATING, token } from '../helpers/tokens.js'
import { sleep } from '../helpers/wait.js'

const server = sharedServer([...AUTHENTICATING, '--presence-identity-field', 'verified'])

/** Longer than the grace time of a broken socket. */
const GRACE_MS = 3_000

/** A client in a document, by its own way to show a token. */
function joinAs (t, client, document, subject, options = {}) {
  const shown = token({ '*': 'write' }, { subject })
  const way = HOCUSPOCUS.includes(client) ? { token: shown } : { params: { token: shown } }
  return join(t, client, server, document, { ...way, ...options })
}

const shows = (sub, state) => ({ verified: { sub }, ...state })

/** Has a client send, by its own code, an entry of another client as of a time to come. */
function forge (peer, id, state) {
  const forger = new Awareness(new Doc())
  forger.clientID = id
  forger.meta.set(id, { clock: 1_000, lastUpdated: 0 })
  forger.setLocalState({ n: 1 })
  forger.setLocalState(state)
  applyAwarenessUpdate(peer.awareness, encodeAwarenessUpdate(forger, [id]), 'forged')
  forger.destroy()
}

for (const [index, client] of [...CLIENTS, ...HOCUSPOCUS].entries()) {
  test(`${client.name} sees who others are, and cannot be another`, async t => {
    const document = `identity-${index}`
    const ada = await joinAs(t, client, document, 'ada')
    const watcher = await joinAs(t, CLIENTS[0], document, 'watcher')
    const mallory = await joinAs(t, client, document, 'mallory')
    ada.present({ name: 'Ada', verified: { sub: 'ben' } })
    for (const peer of [watcher, mallory]) await seen(peer, ada, shows('ada', { name: 'Ada' }))
    mallory.present({ name: 'Ada', verified: { sub: 'ada' } })
    for (const peer of [watcher, ada]) await seen(peer, mallory, shows('mallory', { name: 'Ada' }))
    forge(mallory, ada.id, { name: 'Eve' })
    forge(mallory, ada.id, null)
    mallory.present({ name: 'after' })
    await seen(watcher, mallory, shows('mallory', { name: 'after' }))
    assert.deepEqual(watcher.sees(ada), shows('ada', { name: 'Ada' }))
    ada.present({ name: 'Ada', at: 7 })
    await seen(watcher, ada, shows('ada', { name: 'Ada', at: 7 }))
    assert.equal(mallory.closes, 0)
  })

  test(`${client.name} is itself again after a reconnect, and stays`, async t => {
    const document = `returns-${index}`
    const ada = await joinAs(t, client, document, 'ada')
    const watcher = await joinAs(t, CLIENTS[0], document, 'watcher')
    ada.present({ at: 0 })
    await seen(watcher, ada, shows('ada', { at: 0 }))
    ada.cut()
    await ada.closed(1)
    await sleep(GRACE_MS)
    await ada.synced()
    await seen(watcher, ada, shows('ada', { at: 0 }))
    await sleep(GRACE_MS)
    assert.deepEqual(watcher.sees(ada), shows('ada', { at: 0 }))
    ada.present({ at: 1 })
    await seen(watcher, ada, shows('ada', { at: 1 }))
  })
}

test('tabs of one browser that are signed in as two people are not taken for each other', async t => {
  const options = { disableBc: false }
  const watcher = await joinAs(t, CLIENTS[0], 'browser', 'watcher')
  const ben = await joinAs(t, CLIENTS[0], 'browser', 'ben', options)
  ben.present({ name: 'Ben' })
  await seen(watcher, ben, shows('ben', { name: 'Ben' }))
  // Ben's tab hears of Ada's before the server does, and repeats it.
  const ada = await joinAs(t, CLIENTS[0], 'browser', 'ada', options)
  for (const at of [0, 1, 2]) {
    ada.present({ at })
    await seen(watcher, ada, shows('ada', { at }))
  }
  ben.present({ name: 'Ben', at: 9 })
  await seen(watcher, ben, shows('ben', { name: 'Ben', at: 9 }))
})

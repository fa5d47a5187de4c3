/** A server with a key: who may enter, who may write, what the refused are told, and how sessions end. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as Y from 'yjs'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS, HocuspocusPeer, sharedSocket } from '../helpers/hocuspocus.js'
import { seen } from '../helpers/presence.js'
import { sharedServer } from '../helpers/server.js'
import { AUTHENTICATING, token } from '../helpers/tokens.js'
import { sleep, until } from '../helpers/wait.js'

/** Long enough for what must not come. */
const QUIET_MS = 500

/** The least that a session is watched past the life of its first token. */
const LIFETIME_SECONDS = 8

const server = sharedServer(AUTHENTICATING)

const anyone = () => token({ '*': 'write' })

/** Tokens that let nobody in, by the reason. */
const REFUSED = {
  'no JSON Web Token': 'SUPER-SECRET-TOKEN',
  'one that was signed by somebody else': token({ '*': 'write' }, { secret: 'another secret, just as long as it must be' }),
  'one that has expired': token({ '*': 'write' }, { lifetimeSeconds: -600 }),
  'one for another document': token({ 'another/*': 'write' }),
  'one without a signature': `${Buffer.from('{"alg":"none"}').toString('base64url')}.${anyone().split('.')[1]}.`
}

/** A writer that was let in by the y-websocket door. */
const writer = (t, document) => join(t, CLIENTS[0], server, document, { params: { token: anyone() } })

/** A provider that may be refused, with the reasons it was given and the frames it got. */
function attempt (t, client, document, options) {
  const peer = new HocuspocusPeer(client, server, document, {
    onAuthenticationFailed: ({ reason }) => peer.reasons.push(reason),
    onMessage: () => { peer.messages++ },
    ...options
  })
  peer.reasons = []
  peer.messages = 0
  t.after(() => peer.destroy())
  return peer
}

const refused = (peer, times = 1) =>
  until(`${peer.client.name} is refused`, () => peer.reasons.length >= times)

for (const client of HOCUSPOCUS) {
  describe(client.name, { concurrency: true }, () => {
    const document = name => `${name}-${client.generation}`

    for (const [right, scope] of Object.entries({ read: 'readonly', comment: 'readonly', write: 'read-write', admin: 'read-write' })) {
      test(`who may ${right} gets the scope ${scope}`, async t => {
        const made = token({ [document('scope')]: right })
        for (const given of [made, () => made, async () => made]) {
          const peer = await join(t, client, server, document('scope'), { token: given })
          await peer.authenticated()
          assert.equal(peer.provider.authorizedScope, scope)
          await peer.saved()
        }
      })
    }

    for (const [what, bad] of Object.entries(REFUSED)) {
      test(`${what} is refused, and nothing of the document shows`, async t => {
        const name = document(`refused ${what}`)
        const insider = await writer(t, encodeURIComponent(name))
        insider.append('secret')
        insider.present({ name: 'insider' })
        const peer = attempt(t, client, name, { token: bad })
        peer.append('intruded')
        await refused(peer)
        insider.append('!')
        await sleep(QUIET_MS)
        assert.ok(peer.reasons[0].length > 0)
        assert.equal(peer.messages, 1, 'the refusal is all that came')
        assert.equal(peer.provider.isAuthenticated, false)
        assert.equal(peer.isSynced, false)
        assert.equal(peer.text, 'intruded')
        assert.equal(insider.text, 'secret!')
        assert.equal(insider.sees(peer), undefined)
      })
    }

    test('who sends no token gets nothing', async t => {
      const insider = await writer(t, document('none'))
      insider.append('secret')
      const peer = attempt(t, client, document('none'), {})
      await sleep(2 * QUIET_MS)
      assert.equal(peer.isSynced, false)
      assert.equal(peer.text, '')
    })

    test('a second token gets in over the same socket', async t => {
      const insider = await writer(t, document('retry'))
      insider.append('there')
      const peer = attempt(t, client, document('retry'), { token: 'wrong' })
      await refused(peer)
      peer.authenticateAgain('wrong again')
      await refused(peer, 2)
      peer.authenticateAgain(anyone())
      await peer.authenticated()
      await peer.saved()
      assert.equal(peer.text, 'there')
      peer.append('!')
      await converged(peer, insider)
      await peer.saved()
      await sleep(QUIET_MS)
      assert.equal(peer.unsynced, 0)
      assert.equal(peer.reasons.length, 2)
      assert.equal(peer.closes, 0, 'all on one connection')
    })

    test('another provider of the same document gets in after the first was refused', async t => {
      const socket = sharedSocket(t, client, server)
      const first = attempt(t, client, document('second'), { socket, token: 'wrong' })
      await refused(first)
      const second = await join(t, client, server, document('second'), { socket, token: anyone() })
      await second.authenticated()
      await second.saved()
      assert.equal(first.provider.isAuthenticated, false)
      assert.equal(second.closes, 0)
    })

    test('a refusal leaves the socket\'s other documents alone', async t => {
      const socket = sharedSocket(t, client, server)
      const mine = token({ [`${document('mine')}/*`]: 'write' })
      const before = await join(t, client, server, `${document('mine')}/before`, { socket, token: mine })
      const peer = attempt(t, client, document('not-mine'), { socket, token: mine })
      await refused(peer)
      const after = await join(t, client, server, `${document('mine')}/after`, { socket, token: mine })
      for (const stayer of [before, after]) {
        stayer.append('.')
        await stayer.saved()
        assert.equal(stayer.closes, 0)
      }
    })

    test('who may only comment reads, is seen, and writes for nobody', async t => {
      const insider = await writer(t, document('comment'))
      insider.append('there')
      const peer = await join(t, client, server, document('comment'), { token: token({ '*': 'comment' }) })
      await peer.saved()
      assert.equal(peer.text, 'there')
      peer.present({ name: 'reader' })
      await seen(insider, peer, { name: 'reader' })
      insider.present({ name: 'writer' })
      await seen(peer, insider, { name: 'writer' })
      peer.append('forbidden')
      insider.append('!')
      await until('it reads on', () => peer.text.includes('!'))
      await sleep(QUIET_MS)
      assert.equal(peer.unsynced, 1, 'its edit is never acknowledged')
      assert.equal(insider.text, 'there!')
      const late = await writer(t, document('comment'))
      assert.equal(late.text, 'there!')
    })

    test('who may only read sees others and is seen by nobody', async t => {
      const insider = await writer(t, document('read'))
      insider.present({ name: 'writer' })
      const peer = await join(t, client, server, document('read'), { token: token({ '*': 'read' }) })
      await seen(peer, insider, { name: 'writer' })
      peer.present({ name: 'reader' })
      await sleep(QUIET_MS)
      assert.equal(insider.sees(peer), undefined)
      assert.equal(peer.closes, 0)
    })

    test('a reader that brings changes of its own is told that they are not saved', async t => {
      const original = new Y.Doc()
      original.getMap('m').set('foo', 'bar')
      const insider = await writer(t, document('brings'))
      Y.applyUpdate(insider.doc, Y.encodeStateAsUpdate(original))
      await until('it is there', async () => {
        const reader = await writer(t, document('brings'))
        return reader.entries.foo === 'bar'
      })
      const reading = token({ '*': 'read' })
      const bring = change => {
        const doc = new client.Doc()
        Y.applyUpdate(doc, Y.encodeStateAsUpdate(original))
        change(doc.getMap('m'))
        const peer = new HocuspocusPeer(client, server, document('brings'), { token: reading, document: doc })
        t.after(() => peer.destroy())
        return peer
      }
      const peers = [bring(map => map.set('foo', 'changed')), bring(map => map.delete('foo'))]
      const unchanged = bring(() => {})
      await Promise.all([...peers, unchanged].map(peer => peer.synced()))
      await unchanged.saved()
      await sleep(QUIET_MS)
      for (const peer of peers) assert.equal(peer.unsynced, 1)
      assert.equal(unchanged.unsynced, 0)
      assert.deepEqual(insider.entries, { foo: 'bar' })
    })

    test('a session ends with its token', async t => {
      const insider = await writer(t, document('ends'))
      let short
      const peer = attempt(t, client, document('ends'), {
        token: () => (short ??= token({ '*': 'write' }, { lifetimeSeconds: LIFETIME_SECONDS }))
      })
      await peer.saved()
      peer.append('in time')
      await converged(peer, insider)
      await until('it is told', () => peer.reasons.length > 0 || peer.closes > 0)
      await sleep(QUIET_MS)
      peer.append(', too late')
      insider.append('!')
      await sleep(QUIET_MS)
      assert.equal(insider.text, 'in time!')
      assert.ok(!peer.text.includes('!'))
      assert.notEqual(peer.unsynced, 0)
    })

    if (client.generation > 2) {
      test('a session goes on when it is asked for a new token', async t => {
        const insider = await writer(t, document('renews'))
        let asked = 0
        const peer = attempt(t, client, document('renews'), {
          token: () => {
            asked++
            return token({ '*': 'write' }, { lifetimeSeconds: LIFETIME_SECONDS })
          }
        })
        await peer.saved()
        for (let second = 0; second < 2 * LIFETIME_SECONDS + 2; second++) {
          peer.append('.')
          await sleep(1_000)
        }
        await peer.saved()
        await converged(peer, insider)
        assert.ok(asked > 2, `asked ${asked} times`)
        assert.deepEqual([peer.closes, peer.reasons], [0, []])
      })

      test('a new token handed in by itself counts from then on', async t => {
        const insider = await writer(t, document('hands-in'))
        let short
        const peer = attempt(t, client, document('hands-in'), {
          token: () => (short ??= token({ '*': 'write' }, { lifetimeSeconds: LIFETIME_SECONDS }))
        })
        await peer.saved()
        peer.provider.configuration.token = anyone()
        await peer.provider.sendToken()
        await sleep((LIFETIME_SECONDS + 1) * 1_000)
        peer.append('still here')
        await peer.saved()
        await converged(peer, insider)
        assert.deepEqual([peer.closes, peer.reasons], [0, []])
      })
    }
  })
}

describe('hocuspocus 4.8 with session awareness', () => {
  const client = HOCUSPOCUS[2]

  test('each session has the rights of its own token', async t => {
    const socket = sharedSocket(t, client, server)
    const enter = options => attempt(t, client, 'sessions', { socket, sessionAwareness: true, ...options })
    const bad = enter({ token: 'wrong' })
    const reader = enter({ token: token({ '*': 'comment' }) })
    const writing = enter({ token: anyone() })
    await refused(bad)
    await Promise.all([reader.saved(), writing.saved()])
    assert.deepEqual([reader, writing].map(peer => peer.provider.authorizedScope), ['readonly', 'read-write'])
    writing.append('a')
    await converged(reader, writing)
    reader.append('b')
    await sleep(QUIET_MS)
    assert.equal(writing.text, 'a')
    assert.equal(reader.unsynced, 1)
    assert.deepEqual([bad.messages, bad.text, bad.isSynced], [1, '', false])
  })
})

test('a token of the command line is believed', async t => {
  const minted = await server.mint('--doc', 'p/*=write', '--sub', 'ada', '--ttl', '1h')
  for (const client of HOCUSPOCUS) {
    const peer = await join(t, client, server, 'p/minted', { token: minted })
    peer.append('.')
    await peer.saved()
    const outside = attempt(t, client, 'q/minted', { token: minted })
    await refused(outside)
  }
})

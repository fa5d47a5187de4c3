/** What a provider tells its app: each callback of each generation, on a server that is open. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as Y from 'yjs'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS, HocuspocusPeer, sharedSocket } from '../helpers/hocuspocus.js'
import { gone, seen } from '../helpers/presence.js'
import { sharedServer } from '../helpers/server.js'
import { sleep, until } from '../helpers/wait.js'

/** Long enough for what must not come. */
const QUIET_MS = 300

const server = sharedServer()

/** Counts calls of callbacks, by the provider's options and by its events alike. */
class Calls {
  constructor (...names) {
    this.counts = Object.fromEntries(names.map(name => [name, { option: 0, event: 0 }]))
    /** For the provider's constructor. */
    this.options = Object.fromEntries(names.map(name =>
      [`on${name[0].toUpperCase()}${name.slice(1)}`, () => { this.counts[name].option++ }]))
  }

  listen (provider) {
    for (const [name, count] of Object.entries(this.counts)) provider.on(name, () => { count.event++ })
  }

  happened (...names) {
    return until(`${names} happened`, () =>
      names.every(name => this.counts[name].option > 0 && this.counts[name].event > 0),
    undefined, () => JSON.stringify(this.counts))
  }
}

for (const client of HOCUSPOCUS) {
  describe(client.name, () => {
    const document = name => `${name}-${client.generation}`

    test('tells of opening, connecting, messages, sync, and the end', async t => {
      const calls = new Calls('open', 'connect', 'message', 'outgoingMessage', 'synced', 'close', 'disconnect')
      const socket = sharedSocket(t, client, server, client.generation === 2 ? { connect: false } : { autoConnect: false })
      const peer = new HocuspocusPeer(client, server, document('callbacks'), { socket, ...calls.options })
      t.after(() => peer.destroy())
      calls.listen(peer.provider)
      assert.equal(peer.unsynced, 0, 'nothing is unsynced before the first connection')
      assert.equal(peer.isSynced, false)
      peer.connect()
      await calls.happened('open', 'connect', 'message', 'outgoingMessage', 'synced')
      await peer.saved()
      assert.deepEqual(calls.counts.synced, { option: 1, event: 1 })
      assert.equal(calls.counts.close.event, 0)
      await peer.disconnect()
      await calls.happened('close', 'disconnect')
      assert.equal(peer.isSynced, false)
    })

    test('is synced only when it has what is there', async t => {
      const writer = await join(t, CLIENTS[0], server, document('there'))
      writer.append('there')
      writer.set('key', 1)
      const witness = await join(t, CLIENTS[1], server, document('there'))
      await converged(writer, witness)
      let found = null
      const peer = new HocuspocusPeer(client, server, document('there'), {
        onSynced: () => { found ??= [peer.text, peer.entries] }
      })
      t.after(() => peer.destroy())
      await peer.synced()
      assert.deepEqual(found, ['there', { key: 1 }])
    })

    test('is authenticated with the scope read-write, whatever its token', async t => {
      for (const token of ['anything', () => 'made', async () => 'made later']) {
        let told = 0
        const peer = await join(t, client, server, document('scope'), { token, onAuthenticated: () => told++ })
        await peer.authenticated()
        assert.equal(peer.provider.authorizedScope, 'read-write')
        assert.equal(told, 1)
        await peer.saved()
      }
    })

    test('counts changes until they are acknowledged', async t => {
      const peer = await join(t, client, server, document('count'))
      await peer.saved()
      const numbers = []
      peer.provider.on('unsyncedChanges', event => numbers.push(event.number ?? event))
      for (let edit = 1; edit <= 5; edit++) {
        peer.append(`${edit}`)
        assert.equal(peer.unsynced, edit)
        assert.ok(peer.provider.hasUnsyncedChanges)
      }
      await peer.saved()
      assert.equal(peer.provider.hasUnsyncedChanges, false)
      assert.deepEqual(numbers, [1, 2, 3, 4, 5, 4, 3, 2, 1, 0], 'one acknowledgement for each frame')
      await sleep(QUIET_MS)
      assert.equal(peer.unsynced, 0, 'and no more than that')
    })

    test('counts right when it is told to sync again', async t => {
      const [peer, other] = [await join(t, client, server, document('force')), await join(t, client, server, document('force'))]
      await peer.saved()
      for (let round = 0; round < 5; round++) {
        peer.append('a')
        await peer.saved()
        peer.provider.forceSync()
        assert.equal(peer.unsynced, 1)
        other.append('b')
        await until('it is synced again', () => peer.unsynced <= 0)
      }
      await converged(peer, other)
      await sleep(QUIET_MS)
      assert.equal(peer.unsynced, 0)
    })

    test('counts right when it is told to sync again while edits are under way', async t => {
      const peer = await join(t, client, server, document('force-busy'))
      await peer.saved()
      for (let round = 0; round < 5; round++) {
        peer.append('a')
        peer.provider.forceSync()
        peer.append('b')
        assert.equal(peer.unsynced, 2, 'what was sent before is part of what it is asked for')
        await peer.saved()
        await sleep(QUIET_MS)
        // An answer that was on its way when the provider began anew is taken off the new count. Nobody
        // can call it back; generation 2 then ends below zero, the others stop at it.
        assert.ok(client.generation === 2 ? peer.unsynced <= 0 : peer.unsynced === 0, `${peer.unsynced}`)
      }
    })

    test('tells of its own presence and of others\'', async t => {
      const changes = []
      const updates = []
      const peer = await join(t, client, server, document('presence'), {
        onAwarenessChange: ({ states }) => changes.push(states),
        onAwarenessUpdate: ({ states }) => updates.push(states)
      })
      peer.provider.setAwarenessField('name', 'one')
      for (const told of [changes, updates]) {
        assert.deepEqual(told.at(-1), [{ clientId: peer.id, name: 'one' }])
      }
      const other = await join(t, client, server, document('presence'))
      other.provider.setAwarenessField('name', 'two')
      await seen(other, peer, { name: 'one' })
      for (const told of [changes, updates]) {
        await until('both are told of', () => told.at(-1).some(({ name }) => name === 'two'))
        assert.equal(told.at(-1).length, 2)
      }
      other.destroy()
      await gone(peer, other)
      assert.deepEqual(changes.at(-1), [{ clientId: peer.id, name: 'one' }])
    })

    test('presence stays within its document', async t => {
      const socket = sharedSocket(t, client, server)
      const here = await join(t, client, server, document('here'), { socket })
      const there = await join(t, client, server, document('there-alone'), { socket })
      const watcher = await join(t, client, server, document('here'))
      here.present({ name: 'here' })
      there.present({ name: 'there' })
      await seen(watcher, here, { name: 'here' })
      await sleep(QUIET_MS)
      assert.equal(watcher.sees(there), undefined)
      assert.equal(there.sees(here), undefined)
    })

    test('needs no presence at all', async t => {
      const peer = await join(t, client, server, document('absent'), { awareness: null })
      peer.append('absent')
      await peer.saved()
      assert.throws(() => peer.provider.setAwarenessField('name', 'x'), client.AwarenessError)
      const other = await join(t, client, server, document('absent'))
      other.present({ name: 'present' })
      other.append('!')
      await converged(peer, other)
    })

    test('stateless messages reach the document\'s other sessions and nobody else', async t => {
      const heard = {}
      const listener = name => ({ onStateless: ({ payload }) => (heard[name] ??= []).push(payload) })
      const sender = await join(t, client, server, document('stateless'), listener('sender'))
      for (const other of HOCUSPOCUS) await join(t, other, server, document('stateless'), listener(other.name))
      await join(t, client, server, document('other'), listener('elsewhere'))
      const plain = await join(t, CLIENTS[0], server, document('stateless'))
      const payloads = ['', 'hello 🌍', JSON.stringify({ kind: 'saved', at: 'x'.repeat(10_000) })]
      payloads.forEach(payload => sender.provider.sendStateless(payload))
      for (const other of HOCUSPOCUS) {
        await until(`${other.name} heard all`, () => heard[other.name]?.length === payloads.length)
        assert.deepEqual(heard[other.name], payloads)
      }
      await sleep(QUIET_MS)
      assert.deepEqual([heard.sender, heard.elsewhere], [undefined, undefined])
      sender.append('goes on')
      await converged(sender, plain)
      assert.equal(plain.closes, 0, 'a client without the word for it is not disturbed')
    })

    for (const observe of ['observe', 'observeDeep']) {
      test(`${observe} is called once for each change`, async t => {
        const peer = await join(t, client, server, document(observe))
        const type = peer.doc.get('xml', Y.XmlText)
        let calls = 0
        type[observe](() => { calls++ })
        type.insert(0, 'a')
        type.insert(1, 'b')
        assert.equal(calls, 2)
        peer.doc.transact(() => {
          type.insert(2, 'c')
          type.insert(3, 'd')
        })
        await peer.saved()
        await sleep(QUIET_MS)
        assert.equal(calls, 3, 'nothing came back')
        assert.equal(type.toString(), 'abcd')
      })
    }
  })
}

test('hocuspocus 4.8 may gather changes, and is told of each batch once', async t => {
  const peer = await join(t, HOCUSPOCUS[2], server, 'batch', { flushDelay: 100 })
  await peer.saved()
  let updates = 0
  peer.provider.on('outgoingMessage', ({ message }) => {
    if (message.description === 'A document update') updates++
  })
  for (const key of ['a', 'b', 'c']) peer.set(key, 1)
  assert.equal(peer.unsynced, 1)
  const reader = await join(t, CLIENTS[0], server, 'batch')
  await converged(peer, reader)
  await peer.saved()
  assert.equal(updates, 1)
  await sleep(QUIET_MS)
  assert.equal(peer.unsynced, 0)
})

describe('the door at the root', () => {
  const atRoot = sharedServer(['--hocuspocus-at-root'])

  for (const client of HOCUSPOCUS) {
    test(`${client.name} gets in at / and meets who came by /hocuspocus`, async t => {
      const document = `root-${client.generation}`
      const peers = [
        await join(t, client, atRoot, document, { socketOptions: { path: '/' } }),
        await join(t, client, atRoot, document),
        await join(t, CLIENTS[0], atRoot, document)
      ]
      peers.forEach(peer => peer.append(peer.client.name))
      await converged(...peers)
    })
  }
})

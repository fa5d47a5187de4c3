/**
 * What was written without a connection, and how it is counted.
 *
 * At each connection a provider sets `unsyncedChanges` to 1, for the step 2 that it will be asked for, and
 * then also sends the updates that it had queued, uncounted. A server that acknowledged those as well would
 * make generations 3 and 4 say "all is saved" at the first of them, and generation 2 count below zero, so
 * that its next edit counts as saved at once. What lies within the state vector of the provider's step 1
 * was made before it, and is owed no acknowledgement of its own, unless the provider had heard nothing
 * of the server when it sent it: then it did not queue it.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as decoding from 'lib0/decoding'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { far } from '../helpers/far.js'
import { HOCUSPOCUS, HocuspocusPeer, sharedSocket } from '../helpers/hocuspocus.js'
import { sharedServer } from '../helpers/server.js'
import { sleep, until } from '../helpers/wait.js'

/** Long enough for an acknowledgement that must not come. */
const QUIET_MS = 500

/** Each way; a provider has time to make a change before it hears anything. */
const DISTANCE_MS = 100

/** How long provider 4 gathers changes: sent before it has heard anything from far away. */
const FLUSH_MS = 60

/** An acknowledgement. (Source: `types.ts` of @hocuspocus/provider, `MessageType.SyncStatus`.) */
const SYNC_STATUS = 8

const server = sharedServer()

/** All that a provider says of its count from now on. */
function numbers (peer) {
  const told = []
  peer.provider.on('unsyncedChanges', event => told.push(event.number ?? event))
  return told
}

/** Counts the acknowledgements that come from now on. */
function acknowledgements (peer) {
  const counted = { number: 0 }
  peer.provider.on('message', ({ event }) => {
    const decoder = decoding.createDecoder(new Uint8Array(event.data))
    decoding.readVarString(decoder)
    if (decoding.readVarUint(decoder) === SYNC_STATUS) counted.number++
  })
  return counted
}

for (const [where, distanceMs] of [['near', 0], ['far away', DISTANCE_MS]]) {
  test(`a batch that hocuspocus 4.8 began before its step 1 is owed nothing, ${where}`, async t => {
    const place = distanceMs === 0 ? server : await far(t, server, distanceMs)
    const peer = await join(t, HOCUSPOCUS[2], place, `batch-${distanceMs}`, { flushDelay: FLUSH_MS })
    peer.append('abc')
    await peer.saved()
    await peer.disconnect()
    const acknowledged = acknowledgements(peer)
    peer.provider.on('open', () => {
      // The step 1 follows at once, and begins to count anew.
      peer.append('d')
      setTimeout(() => peer.append('e'), FLUSH_MS / 2)
    })
    peer.connect()
    await peer.saved()
    await sleep(QUIET_MS)
    assert.deepEqual([acknowledged.number, peer.unsynced], [1, 0], 'the answer to the step 1')
    peer.append('f')
    assert.equal(peer.unsynced, 1)
    await peer.saved()
    await sleep(QUIET_MS)
    assert.equal(acknowledged.number, 2)
    const reader = await join(t, CLIENTS[0], server, `batch-${distanceMs}`)
    assert.equal(reader.text, 'abcdef')
  })
}

for (const client of HOCUSPOCUS) {
  describe(client.name, () => {
    const document = name => `${name}-${client.generation}`

    test('counts what was written before it first connected as one', async t => {
      const peer = new HocuspocusPeer(client, server, document('early'))
      t.after(() => peer.destroy())
      const told = numbers(peer)
      for (const letter of 'early') peer.append(letter)
      await peer.saved()
      const reader = await join(t, CLIENTS[0], server, document('early'))
      assert.equal(reader.text, 'early')
      await sleep(QUIET_MS)
      assert.deepEqual(told, [1, 2, 3, 4, 5, 1, 0])
    })

    test('counts what was written offline as one, and each later edit for itself', async t => {
      const peer = await join(t, client, server, document('offline'))
      const other = await join(t, CLIENTS[0], server, document('offline'))
      await peer.saved()
      await peer.disconnect()
      for (let edit = 0; edit < 5; edit++) peer.append('.')
      other.append('meanwhile')
      const told = numbers(peer)
      peer.connect()
      await peer.saved()
      await converged(peer, other)
      await sleep(QUIET_MS)
      assert.deepEqual(told, [1, 0])
      peer.append('!')
      assert.equal(peer.unsynced, 1, 'an edit is not saved before it was sent')
      await peer.saved()
      await sleep(QUIET_MS)
      assert.deepEqual(told, [1, 0, 1, 0])
      await converged(peer, other)
    })

    test('says that all is saved when it only deleted offline', async t => {
      const peer = await join(t, client, server, document('deleted'))
      const other = await join(t, CLIENTS[0], server, document('deleted'))
      peer.append('abc')
      await peer.saved()
      await peer.disconnect()
      peer.remove(1, 1)
      peer.connect()
      await peer.saved()
      await converged(peer, other)
      assert.equal(other.text, 'ac')
    })

    test('counts edits made while it connects', async t => {
      const peer = await join(t, client, server, document('connecting'))
      await peer.saved()
      await peer.disconnect()
      peer.append('offline')
      let sent = false
      peer.provider.on('outgoingMessage', () => {
        // As soon as the first frame of the new connection leaves, which is before any answer.
        if (sent || peer.socket.webSocket?.readyState !== 1) return
        sent = true
        queueMicrotask(() => setImmediate(() => peer.append('connecting')))
      })
      peer.connect()
      await peer.saved()
      await sleep(QUIET_MS)
      assert.ok(sent)
      assert.equal(peer.unsynced, 0)
      const reader = await join(t, CLIENTS[0], server, document('connecting'))
      assert.equal(reader.text, 'offlineconnecting')
    })

    test('may leave a document and come back to it without a connection', async t => {
      // Generation 2 says nothing of it.
      const options = { socket: sharedSocket(t, client, server) }
      const peer = await join(t, client, server, document('left'), options)
      const other = await join(t, CLIENTS[0], server, document('left'))
      await peer.saved()
      options.socket.disconnect()
      await until('it is disconnected', () => options.socket.status === 'disconnected')
      peer.append('a')
      peer.detach()
      peer.append('b')
      peer.attach()
      peer.append('c')
      const told = numbers(peer)
      options.socket.connect()
      await peer.saved()
      await converged(peer, other)
      await sleep(QUIET_MS)
      assert.deepEqual(told, [1, 0])
      peer.append('d')
      await peer.saved()
      await converged(peer, other)
      assert.equal(other.text, 'abcd')
    })

    test('counts what is deleted while it connects, and not what was deleted before', async t => {
      const distant = await far(t, server, DISTANCE_MS)
      const peer = await join(t, client, distant, document('deleting'))
      const other = await join(t, CLIENTS[0], server, document('deleting'))
      peer.append('abcdef')
      await peer.saved()
      await peer.disconnect()
      peer.remove(0, 1)
      const told = numbers(peer)
      let deleted = false
      peer.provider.on('outgoingMessage', () => {
        // With the first frame of the new connection; the answer to it is a long way off.
        if (deleted || peer.socket.webSocket?.readyState !== 1) return
        deleted = true
        setTimeout(() => peer.remove(0, 1), DISTANCE_MS / 2)
      })
      peer.connect()
      await peer.saved()
      await converged(peer, other)
      await sleep(QUIET_MS)
      assert.equal(other.text, 'cdef')
      assert.deepEqual(told, [1, 2, 1, 0])
    })
  })
}

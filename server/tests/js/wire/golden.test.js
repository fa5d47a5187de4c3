/** The golden frames of the y-websocket dialect hold to the byte. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { sharedServer } from '../helpers/server.js'
import { GOLDEN, wire } from '../helpers/wire.js'

/** An open wire that said hello as every client does: its step 1, and the answer to the server's. */
async function greeted (t, server, document) {
  const peer = await wire(t, server, document)
  peer.send(GOLDEN.step1Empty)
  peer.send(GOLDEN.step2Empty)
  await peer.next('step 2', frame => frame.startsWith('0001'))
  return peer
}

describe('golden frames', () => {
  const server = sharedServer()

  test('an empty document greets with an empty step 1 and answers with an empty step 2', async t => {
    const peer = await wire(t, server, 'empty')
    await peer.expect(GOLDEN.step1Empty)
    assert.equal(peer.frames[0], GOLDEN.step1Empty, 'step 1 comes first, alone in its frame')
    peer.send(GOLDEN.step1Empty)
    await peer.expect(GOLDEN.step2Empty)
  })

  test('an update reaches others as it was sent', async t => {
    const [writer, reader] = [await wire(t, server, 'update'), await wire(t, server, 'update')]
    reader.send(GOLDEN.step1Empty)
    await reader.expect(GOLDEN.step2Empty)
    writer.send(GOLDEN.update)
    await reader.expect(GOLDEN.update)
  })

  test('a newcomer is asked from the state vector and answered with step 2', async t => {
    const writer = await greeted(t, server, 'newcomer')
    writer.send(GOLDEN.update)
    writer.send('660105')
    await writer.expect(GOLDEN.saved5)
    const reader = await wire(t, server, 'newcomer')
    await reader.expect(GOLDEN.step1)
    reader.send(GOLDEN.step1Empty)
    await reader.expect(GOLDEN.step2)
    const known = reader.frames.length
    reader.send(GOLDEN.step1)
    await reader.expect(GOLDEN.step2Empty, known)
  })

  test('step 2 of a client brings its edits as an update does', async t => {
    const [writer, reader] = [await wire(t, server, 'step2'), await wire(t, server, 'step2')]
    reader.send(GOLDEN.step1Empty)
    await reader.expect(GOLDEN.step2Empty)
    writer.send(GOLDEN.step2)
    await reader.expect(GOLDEN.update)
  })

  test('two messages in one frame, as yrs clients send them, are both read', async t => {
    const peer = await wire(t, server, 'two-in-one')
    peer.send(GOLDEN.step1Empty + GOLDEN.awareness)
    await peer.expect(GOLDEN.step2Empty)
    peer.send(GOLDEN.queryAwareness)
    await peer.expect(GOLDEN.awareness)
  })

  test('presence reaches others, newcomers and those who ask', async t => {
    const [speaker, listener] = [await greeted(t, server, 'presence'), await greeted(t, server, 'presence')]
    speaker.send(GOLDEN.awareness)
    await listener.expect(GOLDEN.awareness)
    const later = await wire(t, server, 'presence')
    await later.expect(GOLDEN.awareness)
    const known = later.frames.length
    later.send(GOLDEN.queryAwareness)
    await later.expect(GOLDEN.awareness, known)
  })

  test('asking for presence where nobody is gets an empty answer', async t => {
    const peer = await greeted(t, server, 'nobody')
    peer.send(GOLDEN.queryAwareness)
    await peer.expect(GOLDEN.awarenessEmpty)
  })

  test('type 102 is answered with the version once everything before it is durable', async t => {
    const peer = await greeted(t, server, 'saved')
    peer.send(GOLDEN.saved5)
    await peer.expect(GOLDEN.saved5)
    peer.send(GOLDEN.update)
    peer.send('660106')
    await peer.expect('660106')
    peer.send(GOLDEN.update)
    peer.send('660107')
    await peer.expect('660107')
  })
})

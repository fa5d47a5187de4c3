/** A document where nothing happens keeps its connections: no client's watchdog fires. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENTS, join } from '../helpers/clients.js'
import { HOCUSPOCUS, sharedSocket } from '../helpers/hocuspocus.js'
import { startServer } from '../helpers/server.js'
import { sleep } from '../helpers/wait.js'
import { YSWEET } from '../helpers/ysweet.js'

/** Three times the 30 s of silence after which clients of y-websocket and Hocuspocus reconnect. */
const QUIET_MS = 92_000

test('a quiet document sees no reconnect in 90 s, with and without presence', async t => {
  const server = await startServer(t)
  const peers = []
  for (const client of [...CLIENTS, ...HOCUSPOCUS, YSWEET]) {
    const present = await join(t, client, server, 'quiet')
    present.present({ name: client.name })
    const absent = await join(t, client, server, 'quiet-and-absent')
    absent.present(null)
    peers.push(present, absent)
  }
  // A socket stays when its last document is left.
  const left = []
  for (const client of HOCUSPOCUS) {
    const peer = await join(t, client, server, 'left', { socket: sharedSocket(t, client, server) })
    peer.destroy()
    left.push(peer)
  }
  await sleep(QUIET_MS)
  for (const peer of left) assert.deepEqual(peer.farewells, [], `${peer.client.name} without a document`)
  for (const peer of peers) {
    assert.deepEqual(peer.farewells, [], `${peer.client.name} lost its connection`)
    assert.ok(peer.isSynced)
    if (peer.client === YSWEET) assert.equal(peer.connects, 1)
  }
})

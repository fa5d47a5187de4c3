/** A graceful restart under live clients: exit code 0, everyone comes back, every edit with them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS } from '../helpers/hocuspocus.js'
import { startServer } from '../helpers/server.js'
import { sleep } from '../helpers/wait.js'
import { YSWEET } from '../helpers/ysweet.js'

const RESTARTS = 3

test('clients that type through restarts lose nothing', async t => {
  const server = await startServer(t)
  const peers = []
  for (const client of [...CLIENTS, ...HOCUSPOCUS, YSWEET]) {
    peers.push(await join(t, client, server, 'live'), await join(t, client, server, 'live'))
  }
  const expected = {}
  let typing = true
  const typists = peers.map(async (peer, index) => {
    for (let edit = 0; typing; edit++) {
      peer.set(`${index}-${edit}`, edit)
      expected[`${index}-${edit}`] = edit
      peer.insert(0, 'x')
      // On a busy machine they do not make more than all can take in.
      const begun = Date.now()
      await sleep(10)
      await sleep(4 * Math.max(0, Date.now() - begun - 10))
    }
  })
  try {
    for (let restart = 0; restart < RESTARTS; restart++) {
      await sleep(300)
      assert.equal(await server.stop(), 0, `SIGTERM ends with exit code 0:\n${server.log}`)
      await sleep(100)
      await server.start()
    }
  } finally {
    typing = false
    await Promise.all(typists)
  }
  const late = await join(t, CLIENTS[0], server, 'live')
  await converged(late, ...peers)
  const sorted = Object.fromEntries(Object.entries(expected).sort())
  assert.deepEqual(late.entries, sorted)
  assert.equal(late.text.length, Object.keys(expected).length)
})

test('what was there before a restart is there for those who come after', async t => {
  const server = await startServer(t)
  const writer = await join(t, CLIENTS[0], server, 'kept')
  writer.append('kept')
  const witness = await join(t, CLIENTS[1], server, 'kept')
  await converged(writer, witness)
  writer.destroy()
  witness.destroy()
  assert.equal(await server.stop(), 0)
  await server.start()
  const reader = await join(t, CLIENTS[2], server, 'kept')
  assert.equal(reader.text, 'kept')
})

/** The unmodified clients over wss://, with states that take many TLS records. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { HOCUSPOCUS } from '../helpers/hocuspocus.js'
import { sharedServer } from '../helpers/server.js'
import { YSWEET, manager } from '../helpers/ysweet.js'

/** The clients of all dialects. */
const ALL = [...CLIENTS, ...HOCUSPOCUS, YSWEET]

/** Holds a certificate of 127.0.0.1, which this process trusts (NODE_EXTRA_CA_CERTS), and its key. */
const folder = process.env.TEST_CERTIFICATE_FOLDER
if (!folder) throw new Error('TEST_CERTIFICATE_FOLDER must be set; server/tests/javascript.rs sets it')

const server = sharedServer([
  '--tls-certificate', path.join(folder, 'certificate.pem'),
  '--tls-key', path.join(folder, 'key.pem')
])

const LARGE = 'every letter counts '.repeat(150_000)

for (const [index, client] of ALL.entries()) {
  test(`${client.name} syncs large states both ways over TLS`, async t => {
    const document = `tls-${index}`
    const first = await join(t, client, server, document)
    first.insert(0, LARGE)
    const second = await join(t, client, server, document)
    await converged(first, second)
    second.append('and so does the end')
    await converged(first, second)
    assert.equal(first.text, LARGE + 'and so does the end')
  })
}

test('all clients edit one document over TLS, through cuts', async t => {
  const peers = []
  for (const client of ALL) peers.push(await join(t, client, server, 'all'))
  for (let round = 0; round < 20; round++) {
    peers.forEach(peer => peer.insert(0, String(round)))
    if (round % 5 === 0) peers[round % peers.length].cut()
  }
  await converged(...peers)
})

test('a y-sweet backend speaks over TLS and is told addresses that do, too', async t => {
  const backend = manager(server)
  const told = await backend.getOrCreateDocAndToken('told')
  assert.match(told.url, /^wss:/)
  assert.match(told.baseUrl, /^https:/)
  const peer = await join(t, YSWEET, server, 'told')
  peer.insert(0, 'hello')
  await peer.saved()
  assert.ok((await backend.getDocAsUpdate('told')).length > 2)
})

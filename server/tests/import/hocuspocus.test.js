/** The database of a real Hocuspocus server, which real providers filled. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { SQLite } from '@hocuspocus/extension-sqlite'
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { Server } from '@hocuspocus/server'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { env, folder, held, imported, run, stored } from './command.js'
import { editByTwo } from './documents.js'

/** Starts a server with its SQLite extension. It stores everything when it is stopped. */
async function hocuspocus (database) {
  const server = new Server({
    address: '127.0.0.1',
    port: 0,
    quiet: true,
    stopOnSignals: false,
    debounce: 10,
    extensions: [new SQLite({ database })]
  })
  await server.listen()
  return server
}

/** Edits documents through one socket until the server has all of it. */
async function edited (server, docs, edits, seed) {
  const websocketProvider = new HocuspocusProviderWebsocket({
    url: `ws://127.0.0.1:${server.address.port}`,
    WebSocketPolyfill: /** @type {any} */ (WebSocket)
  })
  for (const [name, doc] of docs) {
    const provider = new HocuspocusProvider({ name, document: doc, websocketProvider })
    provider.attach()
    await new Promise(resolve => provider.on('synced', resolve))
    if (name !== 'never written') editByTwo(doc, seed++, edits)
    while (provider.unsyncedChanges > 0) await new Promise(resolve => setTimeout(resolve, 5))
    provider.destroy()
  }
  websocketProvider.destroy()
}

const names = ['notes', 'team/plan', 'with space', 'ünï', 'never written', 'x'.repeat(513)]

async function filled (t) {
  const database = path.join(await folder(t), 'db.sqlite')
  const docs = new Map(names.map(name => [name, new Y.Doc()]))
  const server = await hocuspocus(database)
  await edited(server, docs, 200, 1)
  await server.destroy()
  return { database, docs }
}

const long = 'x'.repeat(513)

test('a Hocuspocus database comes over, catches up, and conflicts are left alone', async t => {
  const { database, docs } = await filled(t)
  const data = path.join(await folder(t), 'data')
  const source = ['hocuspocus', '--sqlite', database]
  const first = await imported(data, ...source)
  assert.equal(first.code, 4, first.stderr)
  assert.equal(first.report.notes[0].document, long)
  assert.match(first.report.notes[0].text, /513 bytes; the most is 512/)
  assert.equal(first.report.equal, 4)
  assert.equal(first.report.documents, 5, 'Hocuspocus does not store what was never written')
  const whole = [...docs].filter(([name]) => name !== long && name !== 'never written')
  for (const [name, doc] of whole) assert.deepEqual(await stored(data, name), held(doc), name)

  // The old server ran on: what came since is brought, and only that.
  const server = await hocuspocus(database)
  await edited(server, docs, 100, 50)
  await server.destroy()
  const second = await imported(data, ...source)
  assert.equal(second.report.imported, 4, JSON.stringify(second.report))
  assert.equal(second.report.equal, 4)
  for (const [name, doc] of whole) assert.deepEqual(await stored(data, name), held(doc), name)
  const third = await imported(data, ...source, '--only', 'team/*')
  assert.deepEqual([third.code, third.report.unchanged, third.report.left_out], [0, 1, 4])

  // Another history of the same name.
  const { database: other, docs: others } = await filled(t)
  const conflict = await imported(data, 'hocuspocus', '--sqlite', other, '--only', 'notes')
  assert.equal(conflict.code, 4)
  assert.equal(conflict.report.notes[0].kind, 'conflict')
  assert.deepEqual(await stored(data, 'notes'), held(docs.get('notes')))
  const merge = await imported(data, 'hocuspocus', '--sqlite', other, '--only', 'notes', '--merge')
  assert.deepEqual([merge.code, merge.report.merged, merge.report.equal], [0, 1, 1])
  const both = new Y.Doc()
  Y.applyUpdate(both, Y.encodeStateAsUpdate(docs.get('notes')))
  Y.applyUpdate(both, Y.encodeStateAsUpdate(others.get('notes')))
  assert.deepEqual(await stored(data, 'notes'), held(both))
})

test('an import that is killed goes on where it was', async t => {
  const database = path.join(await folder(t), 'db.sqlite')
  const server = await hocuspocus(database)
  const sqlite = server.hocuspocus.configuration.extensions[0]
  const docs = new Map()
  for (let index = 0; index < 600; index++) {
    const doc = new Y.Doc()
    editByTwo(doc, index, 20)
    docs.set(`doc ${index}`, doc)
    await sqlite.configuration.store({ documentName: `doc ${index}`, state: Buffer.from(Y.encodeStateAsUpdate(doc)) })
  }
  await server.destroy()
  const data = path.join(await folder(t), 'data')
  const words = ['import', 'hocuspocus', '--sqlite', database, '--data', data]
  let kills = 0
  for (let delay = 20; delay < 60_000; delay *= 1.5) {
    const child = spawn(process.env.DRIFTLESS_BIN, words, { env, stdio: 'ignore' })
    const ended = new Promise(resolve => child.once('exit', (_, signal) => resolve(signal)))
    setTimeout(() => child.kill('SIGKILL'), delay)
    if (await ended === null) break
    kills++
  }
  assert.ok(kills > 0, 'some import was killed')
  const last = await imported(data, 'hocuspocus', '--sqlite', database)
  assert.equal(last.code, 0, last.stderr)
  assert.deepEqual([last.report.imported, last.report.unchanged], [0, 600])
  for (const name of ['doc 0', 'doc 299', 'doc 599']) {
    assert.deepEqual(await stored(data, name), held(docs.get(name)))
  }
  assert.equal((await run('doc', 'verify', '--data', data)).code, 0)
})

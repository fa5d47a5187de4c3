/**
 * Writes `fixtures/` anew with the real packages: `node make-fixtures.js PATH-OF-Y-SWEET`.
 *
 * y-sweet 0.9.1 is on crates.io (`cargo install --locked --version 0.9.1 y-sweet`); its package on npm
 * only loads a binary from elsewhere.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import * as Y from 'yjs'
import { LeveldbPersistence } from 'y-leveldb'
import { editByTwo } from './documents.js'

const [ySweet] = process.argv.slice(2)
const folder = path.join(import.meta.dirname, 'fixtures')
const port = 41_873
const base = `http://127.0.0.1:${port}`

/** Two documents in three stages each. @returns {Map<string, Uint8Array[]>} */
function documents () {
  const stages = new Map()
  for (const [name, seed] of [['notes', 7], ['team_plan', 8]]) {
    const doc = new Y.Doc()
    const states = []
    for (const stage of [1, 2, 3]) {
      editByTwo(doc, seed * 10 + stage, 40)
      states.push(Y.encodeStateAsUpdate(doc))
    }
    stages.set(name, states)
  }
  return stages
}

async function makeYSweet (stages) {
  const store = path.join(folder, 'y-sweet')
  const server = spawn(ySweet, ['serve', '--port', `${port}`, '--checkpoint-freq-seconds', '1', store])
  const post = (where, body, headers = {}) => fetch(base + where, { method: 'POST', body, headers })
  while (!await fetch(`${base}/ready`).then(reply => reply.ok, () => false)) {
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  for (const docId of ['empty', ...stages.keys()]) {
    await post('/doc/new', JSON.stringify({ docId }), { 'content-type': 'application/json' })
    for (const state of stages.get(docId) ?? []) await post(`/d/${docId}/update`, state)
  }
  await new Promise(resolve => setTimeout(resolve, 3_000))
  server.kill('SIGINT')
  await once(server, 'exit')
}

/** Stores each stage as what it adds to the one before. */
async function store (persistence, name, states) {
  let before = new Uint8Array([0])
  for (const state of states) {
    await persistence.storeUpdate(name, Y.diffUpdate(state, before))
    before = Y.encodeStateVectorFromUpdate(state)
  }
}

async function makeYLeveldb (stages) {
  // All of it is in the log; a document was deleted.
  const young = new LeveldbPersistence(path.join(folder, 'y-leveldb-young'))
  await store(young, 'notes', stages.get('notes'))
  await store(young, 'my%20room', stages.get('team_plan'))
  await store(young, 'gone', stages.get('notes'))
  await young.setMeta('notes', 'key', 'value')
  await young.clearDocument('gone')
  await young.destroy()
  // The first stages are in a table, the others overwrite and follow them in the log.
  const aged = new LeveldbPersistence(path.join(folder, 'y-leveldb-aged'))
  for (const [name, states] of stages) await store(aged, name, states.slice(0, 2))
  await store(aged, 'gone', stages.get('notes'))
  await aged._transact(db => db.compactRange(['v1'], ['v2']))
  await aged.clearDocument('gone')
  for (const [name, states] of stages) {
    await aged.flushDocument(name)
    await aged.storeUpdate(name, Y.diffUpdate(states[2], Y.encodeStateVectorFromUpdate(states[1])))
  }
  await aged.destroy()
  for (const name of ['y-leveldb-young', 'y-leveldb-aged']) {
    for (const file of await readdir(path.join(folder, name))) {
      if (/^LO(G|CK)/.test(file)) await rm(path.join(folder, name, file))
    }
  }
}

await rm(folder, { recursive: true, force: true })
await mkdir(path.join(folder, 'updates'), { recursive: true })
const stages = documents()
for (const [name, states] of stages) {
  await writeFile(path.join(folder, 'updates', `${name}.update`), states[2])
}
await makeYSweet(stages)
await makeYLeveldb(stages)

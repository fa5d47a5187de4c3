/**
 * Fills a folder with much more than fits one table, tells what it holds, and waits to be killed:
 * `node fill-y-leveldb.js FOLDER BYTES`.
 */
import { randomBytes } from 'node:crypto'
import * as Y from 'yjs'
import { LeveldbPersistence } from 'y-leveldb'
import { edit, random } from './documents.js'

const DOCUMENTS = 40
const PARTS = 10

const [folder, bytes] = process.argv.slice(2)
const persistence = new LeveldbPersistence(folder)
const docs = new Map()
const below = random(3)
for (let index = 0; index < DOCUMENTS; index++) {
  const name = `large/${index}`
  const doc = new Y.Doc()
  const writes = []
  doc.on('update', update => writes.push(persistence.storeUpdate(name, update)))
  for (let part = 0; part < PARTS; part++) {
    doc.getArray('list').insert(0, [randomBytes(Number(bytes) / DOCUMENTS / PARTS).toString('base64')])
    edit(doc, below)
  }
  await Promise.all(writes)
  docs.set(name, doc)
}
for (const name of ['large/3', 'large/17']) {
  await persistence.clearDocument(name)
  docs.delete(name)
}
await persistence.flushDocument('large/5')
// The flush removes what it replaces without waiting; one more call comes behind that.
await persistence.getStateVector('large/5')
const states = [...docs].map(([name, doc]) => [name, Buffer.from(Y.encodeStateAsUpdate(doc)).toString('base64')])
console.log(JSON.stringify(Object.fromEntries(states)))
setInterval(() => {}, 1_000)

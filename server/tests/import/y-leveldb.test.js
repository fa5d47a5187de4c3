/** Folders that y-leveldb wrote: young ones, compacted ones, and those of a process that was killed. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import * as Y from 'yjs'
import { LeveldbPersistence } from 'y-leveldb'
import { LeveldbPersistence as LeveldbPersistence1 } from 'y-leveldb-1'
import { folder, held, imported, run, stored } from './command.js'
import { edit, random } from './documents.js'

/** LevelDB begins a table at 4 MB: with so much of what cannot be compressed there are several. */
const LARGE_BYTES = 12 << 20

/** Stores every update of the document as y-websocket does. */
function persist (persistence, name, doc) {
  const writes = []
  const store = update => writes.push(persistence.storeUpdate(name, update))
  doc.on('update', store)
  return () => {
    doc.off('update', store)
    return Promise.all(writes)
  }
}

async function filled (persistence, names, edits, seed) {
  const docs = new Map()
  const below = random(seed)
  for (const name of names) {
    const doc = new Y.Doc()
    const written = persist(persistence, name, doc)
    for (let count = 0; count < edits; count++) edit(doc, below)
    await written()
    docs.set(name, doc)
  }
  return docs
}

async function checked (t, source, docs) {
  const data = path.join(await folder(t), 'data')
  const dry = await imported(data, 'y-websocket', source, '--dry-run')
  assert.equal(dry.code, 0, dry.stderr)
  assert.equal(dry.report.imported, docs.size)
  assert.equal((await run('doc', 'list', '--data', data)).code, 3, 'a dry run makes no store')
  const before = await readdir(source)
  const { code, report, stderr } = await imported(data, 'y-websocket', source)
  assert.equal(code, 0, stderr + JSON.stringify(report))
  assert.equal(report.equal, docs.size)
  assert.deepEqual(await readdir(source), before, 'the folder is only read')
  for (const [name, doc] of docs) {
    assert.deepEqual(await stored(data, decodeURIComponent(name)), held(doc), name)
  }
  const again = await imported(data, 'y-websocket', source)
  assert.equal(again.report.unchanged, docs.size)
  assert.equal(again.report.imported, 0)
  return data
}

for (const [version, Persistence] of [['0.2', LeveldbPersistence], ['0.1', LeveldbPersistence1]]) {
  test(`a small folder of y-leveldb ${version}, as it lies there and after it was opened again`, async t => {
    const source = path.join(await folder(t), 'db')
    let persistence = new Persistence(source)
    const names = ['notes', 'team/plan', 'my%20room', 'caf%C3%A9']
    const docs = await filled(persistence, names, 60, 1)
    await persistence.setMeta('notes', 'key', { any: 'value' })
    const gone = await filled(persistence, ['gone'], 10, 2)
    assert.equal(gone.size, 1)
    await persistence.clearDocument('gone')

    const busy = await imported(path.join(source, 'none'), 'y-websocket', source, '--dry-run')
    assert.equal(busy.code, 4, busy.stderr)
    assert.match(busy.stderr, /in use; stop the server/)
    await persistence.destroy()
    await checked(t, source, docs)

    persistence = new Persistence(source)
    await persistence.flushDocument('notes')
    for (const [name, doc] of docs) {
      const written = persist(persistence, name, doc)
      doc.getText('text').insert(0, 'more ')
      await written()
    }
    await persistence.destroy()
    await checked(t, source, docs)
  })
}

test('a large folder with tables on several levels, of a process that was killed', async t => {
  const source = path.join(await folder(t), 'db')
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'fill-y-leveldb.js'), source, `${LARGE_BYTES}`],
    { stdio: ['ignore', 'pipe', 'inherit'] })
  let told = ''
  for await (const part of child.stdout.setEncoding('utf8')) {
    told += part
    if (told.endsWith('\n')) child.kill('SIGKILL')
  }
  const docs = new Map(Object.entries(JSON.parse(told)).map(([name, state]) => {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, Buffer.from(state, 'base64'))
    return [name, doc]
  }))
  assert.equal(docs.size, 38)
  const tables = (await readdir(source)).filter(name => name.endsWith('.ldb'))
  assert.ok(tables.length > 2, `${tables.length} tables`)
  await checked(t, source, docs)
  // The next start of the server makes a table of what the log holds.
  await new LeveldbPersistence(source).destroy()
  await checked(t, source, docs)
})

test('names that were no URLs come over as they are on request', async t => {
  const source = path.join(await folder(t), 'db')
  const persistence = new LeveldbPersistence(source)
  const docs = await filled(persistence, ['100%', 'a%20b'], 5, 4)
  await persistence.destroy()
  const data = path.join(await folder(t), 'data')
  const asPaths = await imported(data, 'y-websocket', source)
  assert.equal(asPaths.code, 4, asPaths.stderr)
  assert.equal(asPaths.report.notes[0].document, '100%')
  const plain = path.join(await folder(t), 'data')
  assert.equal((await imported(plain, 'y-websocket', source, '--plain-names')).code, 0)
  for (const [name, doc] of docs) assert.deepEqual(await stored(plain, name), held(doc))
})

test('the script of the guide exports what y-leveldb reads, also of a damaged folder', async t => {
  const source = path.join(await folder(t), 'db')
  const persistence = new LeveldbPersistence(source)
  const docs = await filled(persistence, ['.hidden', 'team/plan', 'my%20room'], 30, 5)
  await persistence._transact(db => db.compactRange(['v1'], ['v2']))
  await persistence.destroy()
  const table = (await readdir(source)).find(name => name.endsWith('.ldb'))
  const bytes = await readFile(path.join(source, table))
  // The checksum of the index, which lies before the footer of 48 bytes.
  bytes[bytes.length - 49] ^= 1
  await writeFile(path.join(source, table), bytes)
  const data = path.join(await folder(t), 'data')
  const damaged = await imported(data, 'y-websocket', source)
  assert.equal(damaged.code, 6, damaged.stderr)
  assert.match(damaged.stderr, /migrate-from-y-websocket\.md/)

  const guide = await readFile(path.join(import.meta.dirname, '../../../docs/migrate-from-y-websocket.md'), 'utf8')
  const [, script] = guide.match(/```js\n(\/\/ export\.mjs[^]*?)```/)
  // Beside the packages that it imports.
  const file = path.join(import.meta.dirname, `node_modules/.export-${process.pid}.mjs`)
  await writeFile(file, script)
  t.after(() => rm(file))
  const exported = path.join(await folder(t), 'exported')
  await promisify(execFile)(process.execPath, [file, source, exported])
  const { code, report, stderr } = await imported(data, 'updates', exported)
  assert.deepEqual([code, report.equal], [0, docs.size], stderr)
  for (const [name, doc] of docs) assert.deepEqual(await stored(data, decodeURIComponent(name)), held(doc), name)
})

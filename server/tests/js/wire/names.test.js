/** A document's name is the raw path behind the prefix, percent-decoded exactly once. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { sharedServer } from '../helpers/server.js'
import { Wire, read, update, wire } from '../helpers/wire.js'
import * as Y from 'yjs'

/** Different documents, each under the spellings that must all mean it. */
const DOCUMENTS = [
  ['a/b', 'a%2Fb', 'a%2fb', '%61/%62'],
  ['a', '%61'],
  ['a/', 'a%2F'],
  ['a//b', 'a%2F%2Fb', 'a/%2Fb'],
  ['/a/b', '%2Fa/b'],
  ['a/../b', 'a/%2E%2E/b', 'a%2F..%2Fb'],
  ['..', '%2e%2e'],
  ['.', '%2E'],
  ['b'],
  ['a+b', 'a%2Bb'],
  ['a%20b', '%61%20%62'],
  ['a%252Fb'],
  ['a%25', '%61%25'],
  ['a%2525'],
  ['a%3Fb%23c'],
  ['A'],
  ['%C3%A9t%C3%A9'],
  ['%F0%9F%8C%8D'],
  ['x'.repeat(512)]
]

/** Names that are no names: not UTF-8, cut escapes, nothing, one byte too long. */
const REFUSED = ['%FF', 'a%C3', '%C3%28', '%ED%A0%80', 'a%', 'a%2', 'a%zz', '', 'x'.repeat(513),
  '%C3%A9'.repeat(257)]

const server = sharedServer()

async function write (t, document, text) {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  const writer = await wire(t, server, document)
  writer.send(update(Y.encodeStateAsUpdate(doc)))
  writer.send('660101')
  await writer.saved(1)
}

describe('names', () => {
  test('spellings of one name meet, and different names never do', async t => {
    for (const [index, [name]] of DOCUMENTS.entries()) await write(t, name, `document ${index}`)
    for (const [index, spellings] of DOCUMENTS.entries()) {
      for (const spelling of spellings) {
        const doc = await read(server, spelling)
        assert.equal(doc.getText('t').toString(), `document ${index}`, spelling)
      }
    }
  })

  test('a query is no part of the name', async t => {
    await write(t, 'asked?token=x', 'with a query')
    assert.equal((await read(server, 'asked?other=y')).getText('t').toString(), 'with a query')
    assert.equal((await read(server, 'asked')).getText('t').toString(), 'with a query')
  })

  for (const name of REFUSED) {
    test(`${name.length > 20 ? `${name.length} characters` : JSON.stringify(name)} is refused for good`, async t => {
      const peer = new Wire(server, name)
      t.after(() => peer.destroy())
      // After the upgrade, since a refused upgrade makes y-websocket clients try again for ever.
      const { code, reason } = await peer.ended()
      assert.equal(code, 4400, reason)
    })
  }
})

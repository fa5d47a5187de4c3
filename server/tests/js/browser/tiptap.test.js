/** Tiptap editors with collaboration and carets in Chromium, over each generation of the provider. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as Y from 'yjs'
import { Tabs, sharedBrowser } from '../helpers/browser.js'
import { sharedServer } from '../helpers/server.js'
import { PATIENCE_MS, sleep, until } from '../helpers/wait.js'
import { read } from '../helpers/wire.js'

/** More than the half second of typing that one undo takes back. */
const UNDO_GATHERS_MS = 800

const server = sharedServer()
const browser = sharedBrowser('tiptap.js')

const type = (tab, text) => tab.page.locator('.tiptap').pressSequentially(text)
const press = (tab, key) => tab.page.locator('.tiptap').press(key)

/** The text as a newcomer to the server gets it. */
async function stored (document) {
  const doc = await read(server, document)
  return doc.getXmlFragment('default').toArray().map(block =>
    block.toArray().filter(node => node instanceof Y.XmlText).map(text =>
      text.toDelta().map(part => part.insert).join('')).join('')).join('\n')
}

/** Resolves when all tabs show the same document; returns it as HTML. */
async function same (...tabs) {
  let all = []
  await until('the editors show the same', async () => {
    all = await Promise.all(tabs.map(tab => tab.call('html')))
    return new Set(all).size === 1
  }, undefined, () => JSON.stringify(all))
  return all[0]
}

const saved = tab => until(`${tab.name} is saved`, async () => await tab.call('unsynced') <= 0)

const carets = (tab, ...names) => until(`${tab.name} shows the carets of ${names}`, async () =>
  (await tab.call('carets')).join() === names.join())

for (const generation of [2, 3, 4]) {
  const open = async (t, document) => {
    const profile = await Tabs.open(t, browser, server)
    const one = await profile.tab('one', document, { generation })
    const two = await profile.tab('two', document, { generation })
    return { profile, one, two }
  }

  test(`generation ${generation}: two editors see each other's text, format and caret`, async t => {
    const document = `tiptap-${generation}`
    const { one, two } = await open(t, document)
    await type(one, 'Hello')
    await until('two sees it', async () => (await two.call('html')).includes('Hello'))
    await press(two, 'Control+End')
    await type(two, ' world')
    assert.equal(await same(one, two), '<p>Hello world</p>')
    await carets(one, 'two')
    await carets(two, 'one')
    assert.deepEqual(await one.call('users'), ['one', 'two'])
    await until('two\'s caret stands where it types', async () => await one.call('before', 'two') === 'Hello world')

    // What is typed later than this is undone by itself.
    await sleep(UNDO_GATHERS_MS)
    await press(one, 'Control+Home')
    await type(one, 'Oh, ')
    // An edit of another ends what was chosen for the next letter.
    await until('two sees it', async () => (await two.call('html')).includes('Oh, '))
    await press(two, 'Control+End')
    await two.call('bold')
    await type(two, '!')
    assert.equal(await same(one, two), '<p>Oh, Hello world<strong>!</strong></p>')
    await until('two\'s caret moved along', async () => await one.call('before', 'two') === 'Oh, Hello world!')
    // Letters that came slowly are undone one by one, the first one last.
    for (let undone = 0; undone < 4 && (await one.call('html')).includes('O'); undone++) await one.call('undo')
    await until('one undoes its own', async () =>
      await two.call('html') === '<p>Hello world<strong>!</strong></p>')
    await Promise.all([saved(one), saved(two)])
    await until('the server has it', async () => await stored(document) === 'Hello world!')

    await two.page.close()
    await carets(one)
    assert.deepEqual(await one.call('users'), ['one'])
  })

  test(`generation ${generation}: an editor without a network writes on and merges when it is back`, async t => {
    const document = `tiptap-offline-${generation}`
    const { profile, one, two } = await open(t, document)
    await type(one, 'together')
    await saved(one)
    await until('two sees it', async () => (await two.call('html')).includes('together'))
    profile.cables.pull('two')
    await until('it knows', async () => !await two.call('connected'))
    await press(two, 'Control+End')
    await type(two, ' in a tunnel')
    assert.ok(await two.call('unsynced') > 0, 'it knows that this is not saved')
    await press(one, 'Control+Home')
    await type(one, 'meanwhile ')
    await saved(one)
    assert.equal(await two.call('html'), '<p>together in a tunnel</p>')
    await carets(one)
    profile.cables.plug('two')
    // The pauses between its attempts grow to 30 s.
    await until('it is back', async () => await two.call('synced'), 3 * PATIENCE_MS)
    assert.equal(await same(one, two), '<p>meanwhile together in a tunnel</p>')
    await saved(two)
    await carets(one, 'two')
    await carets(two, 'one')
    await until('the server has it', async () => await stored(document) === 'meanwhile together in a tunnel')
  })
}

test('editors of all generations write one document', async t => {
  const profile = await Tabs.open(t, browser, server)
  const tabs = []
  for (const generation of [2, 3, 4]) tabs.push(await profile.tab(`tab${generation}`, 'tiptap-mixed', { generation }))
  for (const tab of tabs) {
    await press(tab, 'Control+End')
    await type(tab, tab.name)
    await same(...tabs)
  }
  assert.equal(await same(...tabs), '<p>tab2tab3tab4</p>')
  await carets(tabs[0], 'tab3', 'tab4')
  await carets(tabs[2], 'tab2', 'tab3')
  await tabs[1].page.close()
  await carets(tabs[0], 'tab4')
})

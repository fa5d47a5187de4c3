/** Two people in two browsers write one document and see each other's carets. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { servePage, startBrowser, startServer, until } from '../../web-editor/test/stage.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** One person with a browser profile of their own, so that only the server connects the two. */
async function person (browser, address, name) {
  const page = await (await browser.newContext()).newPage()
  const url = new URL(address)
  url.searchParams.set('name', name)
  await page.goto(url.href)
  const editor = page.locator('.tiptap')
  return {
    type: text => editor.pressSequentially(text),
    end: () => editor.press('Control+End'),
    // Word joiners keep carets apart from the text.
    text: async () => (await editor.innerText()).replaceAll('\u2060', ''),
    carets: () => page.locator('.collaboration-carets__label').allInnerTexts(),
    saved: async () => await page.locator('#saved').getAttribute('data-state') === 'saved',
  }
}

test('two pages write together, and say when it is saved', async t => {
  const server = await startServer(t)
  const address = new URL(await servePage(t, ROOT))
  address.searchParams.set('server', `ws://127.0.0.1:${server.port}/hocuspocus`)
  address.searchParams.set('document', 'shared notes/today')
  const browser = await startBrowser(t)
  const ada = await person(browser, address, 'Ada')
  const bob = await person(browser, address, 'Bob')
  await until('both are in', async () => await ada.saved() && await bob.saved())
  await ada.type('first')
  await until('Bob sees it', async () => (await bob.text()).includes('first'))
  await bob.end()
  await bob.type(' second')
  await until('Ada sees it', async () => (await ada.text()).includes('second'))
  await until('each sees the other', async () =>
    (await ada.carets()).join() === 'Bob' && (await bob.carets()).join() === 'Ada')
  await until('all is saved', async () => await ada.saved() && await bob.saved())

  await server.stop()
  await ada.type(' offline')
  assert.equal(await ada.saved(), false)
  await server.start()
  await until('it is saved', () => ada.saved())
  await until('Bob has it', async () => (await bob.text()).includes('offline'))
})

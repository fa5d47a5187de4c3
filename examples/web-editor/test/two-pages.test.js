/** Two people in two browsers write one document; one is cut off, writes on, and comes back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { servePage, startBrowser, startCable, startServer, until } from './stage.js'

/** One person with a browser profile of their own, so that only the server connects the two. */
async function person (browser, address) {
  const context = await browser.newContext({ viewport: { width: 900, height: 480 } })
  const page = await context.newPage()
  await page.goto(address)
  const editor = page.locator('.cm-content')
  return {
    page,
    type: text => editor.pressSequentially(text),
    end: () => editor.press('Control+End'),
    start: () => editor.press('Control+Home'),
    text: () => page.evaluate(visibleText),
    state: () => page.locator('#connection').getAttribute('data-state'),
    people: () => page.locator('#people li').count(),
    cursors: () => page.locator('.cm-ySelectionInfo').count(),
  }
}

/** Runs in the page: the lines as they are shown, without the cursors that others have in them. */
function visibleText () {
  return [...document.querySelectorAll('.cm-line')].map(line => {
    const copy = line.cloneNode(true)
    copy.querySelectorAll('.cm-ySelectionCaret, .cm-placeholder').forEach(extra => extra.remove())
    return copy.textContent
  }).join('\n')
}

const live = who => until('the page is live', async () => await who.state() === 'live')

async function equal (one, two) {
  await until('both pages show the same text', async () => await one.text() === await two.text())
  return one.text()
}

test('two pages write together, apart and together again', async t => {
  const server = await startServer(t)
  const address = new URL(await servePage(t))
  address.searchParams.set('server', `ws://127.0.0.1:${server.port}/ws`)
  address.searchParams.set('document', 'shared notes/today')
  const browser = await startBrowser(t)
  const one = await person(browser, address.href)
  const two = await person(browser, address.href)
  await Promise.all([live(one), live(two)])
  assert.equal(await one.page.locator('h1').innerText(), 'shared notes/today')

  await one.type('first')
  await until('two sees it', async () => await two.text() === 'first')
  await two.end()
  await two.type(' second')
  assert.equal(await equal(one, two), 'first second')
  await until('each sees the other', async () =>
    await one.people() === 2 && await two.people() === 2 &&
    await one.cursors() === 1 && await two.cursors() === 1)

  await Promise.all([one.start(), two.end()])
  await Promise.all([one.type('(one) '), two.type(' (two)')])
  assert.equal(await equal(one, two), '(one) first second (two)')
  if (process.env.TEST_SCREENSHOT) await one.page.screenshot({ path: process.env.TEST_SCREENSHOT })

  await server.stop()
  await until('both know', async () => await one.state() === 'offline' && await two.state() === 'offline')
  await one.start()
  await one.type('[apart 1] ')
  await two.end()
  await two.type(' [apart 2]')
  assert.notEqual(await one.text(), await two.text())
  await server.start()
  await Promise.all([live(one), live(two)])
  assert.equal(await equal(one, two), '[apart 1] (one) first second (two) [apart 2]')
})

test('a page that lost its network writes on and merges when it is back', async t => {
  const server = await startServer(t)
  const address = new URL(await servePage(t))
  const browser = await startBrowser(t)
  address.searchParams.set('server', `ws://127.0.0.1:${server.port}/ws`)
  const one = await person(browser, address.href)
  const cable = await startCable(t, server.port)
  address.searchParams.set('server', `ws://127.0.0.1:${cable.port}/ws`)
  const two = await person(browser, address.href)
  await Promise.all([live(one), live(two)])
  await one.type('together')
  assert.equal(await equal(one, two), 'together')

  cable.pull()
  await until('it knows', async () => await two.state() === 'offline')
  await two.end()
  await two.type(' typed in a tunnel')
  await one.start()
  await one.type('meanwhile ')
  assert.equal(await two.text(), 'together typed in a tunnel')
  cable.plug()
  await live(two)
  assert.equal(await equal(one, two), 'meanwhile together typed in a tunnel')
})

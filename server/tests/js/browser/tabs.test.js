/** Three tabs of one Chromium that also talk over BroadcastChannel, one of them cut off and back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Tabs, sharedBrowser } from '../helpers/browser.js'
import { sharedServer } from '../helpers/server.js'
import { PATIENCE_MS, sleep, until } from '../helpers/wait.js'
import { read } from '../helpers/wire.js'

const server = sharedServer()
const browser = sharedBrowser()

/** Waits until all tabs and a newcomer without any history hold the same text; returns it. */
async function converged (document, tabs) {
  let texts = []
  await until('tabs and server are equal', async () => {
    texts = await Promise.all(tabs.map(tab => tab.call('text')))
    texts.push((await read(server, document)).getText('t').toString())
    return new Set(texts).size === 1
  }, PATIENCE_MS, () => JSON.stringify(texts))
  return texts[0]
}

/** Every token exactly once: nothing lost, nothing doubled. */
function assertTokens (text, expected) {
  assert.deepEqual(text.match(/<[^>]*>/g).sort(), [...expected].sort())
  assert.equal(text.replaceAll(/<[^>]*>/g, ''), '', 'no token was torn')
}

async function type (tabs, round, tokens) {
  for (let edit = 0; edit < 5; edit++) {
    for (const tab of tabs) {
      const token = `<${tab.name}.${round}.${edit}>`
      tokens.push(token)
      await tab.call('append', token)
    }
  }
}

async function threeTabs (t, document) {
  const profile = await Tabs.open(t, browser, server)
  const tabs = []
  for (const name of ['one', 'two', 'three']) {
    const tab = await profile.tab(name, document)
    await tab.call('present', { name })
    tabs.push(tab)
  }
  return { profile, tabs }
}

test('a tab without a network goes on over its siblings and loses nothing', async t => {
  const { profile, tabs } = await threeTabs(t, 'cut')
  const tokens = []
  await type(tabs, 'before', tokens)
  assertTokens(await converged('cut', tabs), tokens)
  profile.cables.pull('three')
  await until('the tab is offline', async () => !await tabs[2].call('connected'))
  // Siblings hear the tab over BroadcastChannel and type on what they heard: the server gets edits
  // whose foundation it does not have, and has to ask for it.
  await type(tabs, 'during', tokens)
  await sleep(500)
  await type([tabs[2]], 'alone', tokens)
  profile.cables.plug('three')
  await until('the tab is back', () => tabs[2].call('synced'))
  await type(tabs, 'after', tokens)
  assertTokens(await converged('cut', tabs), tokens)
  await until('all are present everywhere', async () => {
    const presence = await Promise.all(tabs.map(tab => tab.call('presence')))
    return presence.every(names => names.join() === 'one,three,two')
  })
})

test('all tabs offline, then back one by one', async t => {
  const { profile, tabs } = await threeTabs(t, 'tunnel')
  const tokens = []
  await type(tabs, 'before', tokens)
  tabs.forEach(tab => profile.cables.pull(tab.name))
  await until('all are offline', async () => {
    const connected = await Promise.all(tabs.map(tab => tab.call('connected')))
    return connected.every(is => !is)
  })
  await type(tabs, 'tunnel', tokens)
  for (const tab of tabs) {
    profile.cables.plug(tab.name)
    await until(`${tab.name} is back`, () => tab.call('synced'))
    await type(tabs, tab.name, tokens)
  }
  assertTokens(await converged('tunnel', tabs), tokens)
})

test('a tab that left on purpose merges what it typed alone', async t => {
  const { tabs } = await threeTabs(t, 'apart')
  const tokens = []
  await type(tabs, 'before', tokens)
  await converged('apart', tabs)
  await tabs[2].call('disconnect')
  await type(tabs, 'apart', tokens)
  await tabs[2].call('connect')
  assertTokens(await converged('apart', tabs), tokens)
})

test('a killed server comes back to tabs that typed on', async t => {
  const { tabs } = await threeTabs(t, 'killed')
  const tokens = []
  await type(tabs, 'before', tokens)
  await server.kill()
  await type(tabs, 'without', tokens)
  await server.start()
  await type(tabs, 'again', tokens)
  assertTokens(await converged('killed', tabs), tokens)
})

/** A document that an operator deleted stays deleted, whatever an offline tab still holds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Tabs, sharedBrowser } from '../helpers/browser.js'
import { sharedServer } from '../helpers/server.js'
import { until } from '../helpers/wait.js'
import { read } from '../helpers/wire.js'

const server = sharedServer()
const browser = sharedBrowser()

const stored = async () => (await read(server, 'deleted')).getText('t').toString()

test('a deleted document does not come back from a tab that was offline, and the tab is told', async t => {
  const profile = await Tabs.open(t, browser, server)
  const tab = await profile.tab('late', 'deleted')
  await tab.call('append', '<old>')
  await until('the server has it', async () => await stored() === '<old>')
  profile.cables.pull('late')
  await until('the tab is offline', async () => !await tab.call('connected'))
  await tab.call('append', '<typed offline>')
  await server.command('doc', 'delete', 'deleted')
  profile.cables.plug('late')
  const closed = await until('the tab is told', () => tab.value('closed'))
  assert.equal(closed.code, 4404)
  assert.equal(await stored(), '')
})

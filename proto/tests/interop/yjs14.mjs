// Edits and views through the API of Yjs 14 (@y/y), where every shared type is one kind of type.

import * as Y from '@y/y'
import { TEXTS, KEYS, border, value } from './random.mjs'

export const library = Y

export const create = (random, clientID) => {
  const doc = new Y.Doc({ gc: !random.oneIn(4) })
  doc.clientID = clientID
  return doc
}

export const undoManager = doc => new Y.UndoManager(doc, { captureTimeout: 0 })

export const edit = (random, doc) => doc.transact(() => {
  for (let count = 1 + random.below(3); count > 0; count--) editRoot(random, doc)
})

const editRoot = (random, doc) => {
  switch (random.below(8)) {
    case 7: return random.oneIn(2) ? editDocs(random, doc.get('docs')) : editList(random, doc.get('docList'), () => subdocument(random))
    case 0: case 1: case 2: return editText(random, doc.get('text'))
    case 3: return editAttributes(random, doc.get('map'))
    case 4: return editList(random, doc.get('array'), () => value(random))
    case 5: return editList(random, doc.get('xml'), () => element(random))
    default: return editNested(random, doc)
  }
}

const subdocument = random => new Y.Doc({
  guid: `guid-${random.below(1000)}`,
  ...random.pick([{}, { gc: false }, { autoLoad: true }, { meta: { title: random.pick(TEXTS) } }])
})

const editDocs = (random, docs) => {
  const key = random.pick(KEYS)
  return random.oneIn(3) && docs.hasAttr(key) ? docs.deleteAttr(key) : docs.setAttr(key, subdocument(random))
}

const shownDoc = value => value instanceof Y.Doc ? { guid: value.guid, opts: value._item.content.opts } : value

const element = random => {
  const type = new Y.Type(random.pick(['p', 'div']))
  type.insert(0, random.pick(TEXTS))
  return type
}

const editText = (random, text) => {
  const shown = text.toArray().map(part => typeof part === 'string' ? part : '\u0000').join('')
  if (shown.length !== text.length) return
  const at = border(random, shown, random.below(shown.length + 1))
  const end = border(random, shown, Math.min(shown.length, at + random.below(6)))
  switch (random.below(8)) {
    case 5: case 6: return end > at && text.delete(at, end - at)
    case 7: return end > at && text.format(at, end - at, { bold: random.pick([true, null]) })
    default: return text.insert(at, random.pick(TEXTS))
  }
}

const editAttributes = (random, type) => {
  const key = random.pick(KEYS)
  switch (random.below(6)) {
    case 0: return type.hasAttr(key) && type.deleteAttr(key)
    case 1: return type.setAttr(key, element(random))
    default: return type.setAttr(key, value(random))
  }
}

const editList = (random, type, make) => {
  const at = random.below(type.length + 1)
  if (random.oneIn(4)) return at < type.length && type.delete(at, 1)
  return type.insert(at, [make()])
}

const editNested = (random, doc) => {
  const types = doc.get('xml').toArray().filter(child => child instanceof Y.Type)
  if (types.length === 0) return
  const type = random.pick(types)
  return random.oneIn(3) ? editAttributes(random, type) : editText(random, type)
}

export const view = doc => [
  ...['text', 'map', 'array', 'xml'].map(name => [name, joined(doc.get(name).toJSON())]),
  KEYS.map(key => shownDoc(doc.get('docs').getAttr(key) ?? null)),
  doc.get('docList').toArray().map(shownDoc)
]

// Where one text ends and the next starts depends on how items were merged.
const joined = shown => {
  if (shown === null || typeof shown !== 'object' || shown.children === undefined) return shown
  const children = []
  for (const child of shown.children.map(joined)) {
    const last = children.length - 1
    if (typeof child === 'string' && typeof children[last] === 'string') children[last] += child
    else children.push(child)
  }
  return { ...shown, children }
}

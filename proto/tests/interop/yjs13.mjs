// Edits and views through the API of Yjs 13.

import * as Y from 'yjs'
import { TEXTS, KEYS, border, value } from './random.mjs'

export const library = Y

const roots = doc => ({
  text: doc.getText('text'),
  map: doc.getMap('map'),
  array: doc.getArray('array'),
  xml: doc.getXmlFragment('xml'),
  docs: doc.getMap('docs'),
  docList: doc.getArray('docList')
})

export const create = (random, clientID) => {
  const doc = new Y.Doc({ gc: !random.oneIn(4) })
  doc.clientID = clientID
  return doc
}

export const undoManager = doc => new Y.UndoManager(Object.values(roots(doc)), { captureTimeout: 0 })

export const edit = (random, doc) => doc.transact(() => {
  for (let count = 1 + random.below(3); count > 0; count--) editRoot(random, roots(doc))
})

const editRoot = (random, { text, map, array, xml, docs, docList }) => {
  switch (random.below(9)) {
    case 8: return random.oneIn(2) ? editDocs(random, docs) : editDocList(random, docList)
    case 0: case 1: case 2: return editText(random, text)
    case 3: return editMap(random, map)
    case 4: return editArray(random, array)
    case 5: return editXml(random, xml)
    default: return editNested(random, [...map.values(), ...array.toArray()])
  }
}

const editText = (random, text) => {
  // Embeds are one unit and not part of the string, so borders are found in the delta.
  let shown = ''
  for (const { insert } of text.toDelta()) shown += typeof insert === 'string' ? insert : '\u0000'
  const at = border(random, shown, random.below(shown.length + 1))
  const end = border(random, shown, Math.min(shown.length, at + random.below(6)))
  switch (random.below(10)) {
    case 6: case 7: return end > at && text.delete(at, end - at)
    case 8: return end > at && text.format(at, end - at, { [random.pick(['bold', 'color'])]: random.pick([true, null, 'red', { a: 1 }]) })
    case 9: return text.insertEmbed(at, random.oneIn(3) ? new Y.Map([['k', 1]]) : { image: 'x' })
    default: return text.insert(at, random.pick(TEXTS), random.oneIn(4) ? { bold: true } : undefined)
  }
}

const editMap = (random, map) => {
  const key = random.pick(KEYS)
  switch (random.below(8)) {
    case 0: return map.set(key, new Y.Map([['inner', value(random)]]))
    case 1: return map.set(key, Y.Array.from([value(random), value(random)]))
    case 2: return map.set(key, new Y.Text(random.pick(TEXTS)))
    case 3: return map.delete(key)
    default: return map.set(key, value(random))
  }
}

const editArray = (random, array) => {
  const at = random.below(array.length + 1)
  switch (random.below(8)) {
    case 0: return array.insert(at, [new Y.Map([['k1', value(random)]])])
    case 1: return array.insert(at, [new Y.Text(random.pick(TEXTS))])
    case 2: case 3: return at < array.length && array.delete(at, Math.min(array.length - at, 1 + random.below(3)))
    default: return array.insert(at, Array.from({ length: 1 + random.below(4) }, () => value(random)))
  }
}

const subdocument = random => new Y.Doc({
  guid: `guid-${random.below(1000)}`,
  ...random.pick([{}, { gc: false }, { autoLoad: true }, { meta: { title: random.pick(TEXTS), deep: [1, null] } }])
})

const editDocs = (random, docs) => random.oneIn(3)
  ? docs.delete(random.pick(KEYS))
  : docs.set(random.pick(KEYS), subdocument(random))

const editDocList = (random, list) => {
  const at = random.below(list.length + 1)
  if (random.oneIn(3)) return at < list.length && list.delete(at, 1)
  return list.insert(at, random.oneIn(4) ? [new Uint8Array([random.below(256)])] : [subdocument(random)])
}

const shownDoc = value => value instanceof Y.Doc ? { guid: value.guid, opts: value._item.content.opts } : [...value]

const editXml = (random, xml) => {
  const at = random.below(xml.length + 1)
  const child = at < xml.length ? xml.get(at) : null
  switch (random.below(6)) {
    case 0: return xml.insert(at, [new Y.XmlText(random.pick(TEXTS))])
    case 1: return child && xml.delete(at, 1)
    case 2: return child instanceof Y.XmlElement && child.setAttribute(random.pick(['class', 'id']), random.pick(TEXTS))
    case 3: return child instanceof Y.XmlElement && editXml(random, child)
    default: {
      const element = new Y.XmlElement(random.pick(['p', 'div']))
      element.insert(0, [new Y.XmlText(random.pick(TEXTS))])
      return xml.insert(at, [element])
    }
  }
}

const editNested = (random, values) => {
  const types = values.filter(value => value instanceof Y.AbstractType)
  if (types.length === 0) return
  const type = random.pick(types)
  if (type instanceof Y.Text) return editText(random, type)
  return type instanceof Y.Map ? editMap(random, type) : editArray(random, type)
}

export const view = doc => {
  const { text, map, array, xml, docs, docList } = roots(doc)
  const plain = delta => delta.map(part => part.insert instanceof Y.AbstractType
    ? { ...part, insert: part.insert.toJSON() }
    : part)
  return {
    delta: plain(text.toDelta()),
    text: text.toString(),
    map: map.toJSON(),
    array: array.toJSON(),
    xml: xml.toString(),
    docs: Object.fromEntries([...docs.entries()].map(([key, value]) => [key, shownDoc(value)])),
    docList: docList.toArray().map(shownDoc)
  }
}

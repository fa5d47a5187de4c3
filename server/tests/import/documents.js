/** Documents with a bit of everything, edited by several clients, and what to compare them by. */
import * as Y from 'yjs'

/** A small generator of numbers, so that a failure can be seen again. */
export function random (seed) {
  let state = seed >>> 0
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * below)
  }
}

/** One edit of any kind. None parts a surrogate pair: there Yjs itself does not converge. */
export function edit (doc, below) {
  const text = doc.getText('text')
  const map = doc.getMap('map')
  const list = doc.getArray('list')
  const page = doc.getXmlFragment('page')
  switch (below(10)) {
    case 0: case 1: case 2:
      return text.insert(below(text.length + 1), ['a', 'word ', 'é', '漢字', 'line\n'][below(5)])
    case 3:
      return text.length > 0 && text.delete(below(text.length), 1)
    case 4:
      return text.length > 3 && text.format(below(text.length - 2), 2, { bold: below(2) === 0 || null })
    case 5:
      return map.set(`key ${below(5)}`, [below(1000), 'text 😀', { nested: [true, null, below(9) / 4] }][below(3)])
    case 6:
      return map.delete(`key ${below(5)}`)
    case 7:
      return list.insert(below(list.length + 1), [below(100), new Y.Map([['x', below(9)]]), new Uint8Array([1, 2, below(9)])].slice(0, 1 + below(3)))
    case 8:
      return list.length > 0 && list.delete(below(list.length), 1)
    default: {
      if (page.length > 2) return page.delete(below(page.length), 1)
      const paragraph = new Y.XmlElement('paragraph')
      paragraph.setAttribute('level', `${below(3)}`)
      paragraph.insert(0, [new Y.XmlText('text in a page')])
      return page.insert(below(page.length + 1), [paragraph])
    }
  }
}

/** Edits a document and a copy of it, which hear each other now and then. */
export function editByTwo (doc, seed, edits) {
  const below = random(seed)
  const other = new Y.Doc()
  const meet = () => {
    Y.applyUpdate(other, Y.encodeStateAsUpdate(doc, Y.encodeStateVector(other)))
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(other, Y.encodeStateVector(doc)))
  }
  meet()
  for (let count = 0; count < edits; count++) {
    edit(below(2) === 0 ? doc : other, below)
    if (below(10) === 0) meet()
  }
  meet()
}

/** What two equal documents have in common. */
export function content (update) {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, update)
  const vector = Y.decodeStateVector(Y.encodeStateVector(doc))
  const deleted = Y.createDeleteSetFromStructStore(doc.store)
  return {
    text: doc.getText('text').toDelta(),
    map: doc.getMap('map').toJSON(),
    list: doc.getArray('list').toJSON(),
    page: doc.getXmlFragment('page').toString(),
    vector: [...vector].sort(([a], [b]) => a - b),
    deleted: [...deleted.clients].sort(([a], [b]) => a - b)
      .map(([client, ranges]) => [client, ranges.map(({ clock, len }) => [clock, len])]),
    isComplete: doc.store.pendingStructs === null && doc.store.pendingDs === null
  }
}

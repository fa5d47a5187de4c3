// A small seeded generator (SplitMix64), the same as in ../support/random.rs.

const MASK = (1n << 64n) - 1n

export class Random {
  constructor (seed) {
    this.state = BigInt(seed)
  }

  bits () {
    this.state = (this.state + 0x9e3779b97f4a7c15n) & MASK
    let mixed = this.state
    mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
    mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & MASK
    return mixed ^ (mixed >> 31n)
  }

  below (bound) {
    return bound <= 0 ? 0 : Number(this.bits() % BigInt(bound))
  }

  oneIn (of) {
    return this.below(of) === 0
  }

  pick (values) {
    return values[this.below(values.length)]
  }

  shuffle (values) {
    for (let at = values.length - 1; at > 0; at--) {
      const other = this.below(at + 1)
      ;[values[at], values[other]] = [values[other], values[at]]
    }
    return values
  }
}

export const TEXTS = ['a', 'bc', 'hello ', '😀', 'x😀y', 'ä', '\n', '😀😀']
export const KEYS = ['k1', 'k2', 'k3', 'long key']

export const value = random => random.pick([
  null, true, -12, 300, 0.5, 2 ** 40, 1.1, 'text', 'ä😀', [1, 'in', null], { key: 'value', deep: { n: [1] } }
])

// Where an edit may start: between characters, seldom inside a surrogate pair. An edit that parts a
// pair without leaving a struct there would show differently on other replicas, in Yjs itself.
export const border = (random, text, at) => {
  const inside = at > 0 && at < text.length && /[\udc00-\udfff]/.test(text[at])
  return inside ? at - 1 : at
}

/** Shows who is here: one badge a person, ourselves first. */
import type { Person, Session } from './session'

/** More badges than this become a number. */
const BADGES_MAX = 8

/** Keeps `place`, a list, up to date. */
export function showPeople({ provider }: Session, place: HTMLElement): void {
  const { awareness } = provider
  const show = (): void => {
    const others = [...awareness.getStates()].filter(([id]) => id !== awareness.clientID)
    const mine = awareness.getLocalState()
    const people = [mine, ...others.map(([, state]) => state)].map(personOf).filter((person) => person !== null)
    const badges = people.slice(0, BADGES_MAX).map((person, index) => badge(person, index === 0))
    const hidden = people.length - badges.length
    if (hidden > 0) badges.push(item(`+${String(hidden)}`))
    place.replaceChildren(...badges)
  }
  awareness.on('change', show)
  show()
}

/** What others send is not to be trusted: anything may stand in there. */
function personOf(state: unknown): Person | null {
  if (typeof state !== 'object' || state === null || !('user' in state)) return null
  const { user } = state
  if (typeof user !== 'object' || user === null || !('name' in user) || !('color' in user)) return null
  const { name, color } = user
  if (typeof name !== 'string' || typeof color !== 'string') return null
  return { name, color, colorLight: color }
}

function badge(person: Person, isMe: boolean): HTMLElement {
  const made = item(isMe ? `${person.name} (you)` : person.name)
  made.style.setProperty('--color', person.color)
  return made
}

function item(text: string): HTMLElement {
  const made = document.createElement('li')
  made.textContent = text
  return made
}

/** Counters only rise, whatever happens: all of them, at every look. */
import { seriesOf, type Running } from '../gateway/harness.ts'

export class Counters {
  readonly #running: Running
  #last = new Map<string, number>()
  /** Series that fell, as often as they did. */
  readonly fallen: string[] = []

  constructor (running: Running) { this.#running = running }

  /** @returns what /metrics says */
  async look (): Promise<string> {
    const text = await (await fetch(`${this.#running.gateway.adminUrl}/metrics`)).text()
    const rising = new Set([...text.matchAll(/^# TYPE (\S+) (counter|histogram)$/gm)].map(([, name]) => name!))
    const now = new Map<string, number>()
    for (const line of text.split('\n')) {
      const [, series, name, value] = /^(([a-z_:]\w*)(?:\{.*\})?) (\S+)/i.exec(line) ?? []
      if (name !== undefined && (rising.has(name) || rising.has(name.replace(/_(bucket|sum|count)$/, '')))) now.set(series!, Number(value))
    }
    for (const [series, before] of this.#last) if ((now.get(series) ?? -1) < before) this.fallen.push(series)
    this.#last = now
    return text
  }

  get size (): number { return this.#last.size }
}

export const sumOf = (text: string, name: string, labels: Readonly<Record<string, string>> = {}): number => seriesOf(text, name, labels)

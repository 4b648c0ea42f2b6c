import { test } from 'tap'
import { progressOn } from '../../src/cli/progress.ts'

function drawn (isTTY: boolean, columns = 80) {
  const written: string[] = []
  let now = 0
  const progress = progressOn({ isTTY, columns, write: text => { written.push(text) } }, () => now)
  return { written, progress, at: (ms: number) => { now = ms } }
}

/** Without what moves the cursor. */
const plain = (text: string) => text.replace('\r', '').replace('\u001b[K', '')

test('on a terminal one line is drawn over, ten times a second at most', async t => {
  const { written, progress, at } = drawn(true)
  for (let ms = 0; ms <= 1000; ms += 10) {
    at(ms)
    progress.update('download', ms * 4000, 8_000_000)
  }
  progress.update('download', 8_000_000, 8_000_000)
  progress.end()
  t.ok(written.length <= 13, `${written.length}`)
  t.ok(written.slice(0, -1).every(text => text.startsWith('\r') && plain(text).length < 80))
  t.match(plain(written[5]!), /^pulling 25 % 2\.0 MB of 8\.0 MB, 4\.0 MB\/s, 2 s left \[#+\.+\]$/)
  t.equal(written.at(-1), '\n')
})

test('elsewhere there is a line now and then, and no control characters', async t => {
  const { written, progress, at } = drawn(false)
  for (let ms = 0; ms <= 60_000; ms += 100) {
    at(ms)
    progress.update('download', ms, null)
  }
  progress.note('a pause')
  progress.update('verify', 5, 5)
  progress.end()
  t.equal(written.length, 9)
  t.ok(written.every(text => /^[\x20-\x7e]+\n$/.test(text)))
  t.match(written.slice(-3), ['pulling 60.0 kB, 1.0 kB/s\n', 'a pause\n', 'verifying 100 % 5 bytes of 5 bytes\n'])
})

test('a note stands above the bar, and a narrow terminal has none', async t => {
  const { written, progress } = drawn(true, 30)
  progress.update('download', 1, 1000)
  progress.note('a pause')
  t.match(written.map(plain), [/^pulling 0 % 1 bytes of 1\.0 k.{0,3}$/, '\n', 'a pause\n'])
})

import { resolve } from 'node:path'
import { test } from 'tap'
import { chooseFile, hubOf } from '../../src/models/hub.ts'
import { parseSource, printable } from '../../src/models/source.ts'

test('a source of the hub names a quantisation or a file, at a revision', async t => {
  t.match(parseSource('hf:Qwen/Qwen3-8B-GGUF:Q4_K_M'), { kind: 'hub', repository: 'Qwen/Qwen3-8B-GGUF', quantisation: 'Q4_K_M', file: null, revision: 'main' })
  t.match(parseSource('hf:a/b/sub/c.gguf@refs/pr/1'), { repository: 'a/b', quantisation: null, file: 'sub/c.gguf', revision: 'refs/pr/1' })
  t.match(parseSource('hf:a/b'), { quantisation: null, file: null })
  t.equal(parseSource('hf:a/b:Q4@v2').id, parseSource('hf:a/b:Q4').id, 'another revision is another version of the same')
})

test('an address is held without what may be a signature', async t => {
  t.match(parseSource('https://example.com/m/x.gguf?X-Sig=secret#x'), { kind: 'url', id: 'https://example.com/m/x.gguf' })
  t.match(parseSource('http://127.0.0.1:80/x.gguf'), { kind: 'url' })
  t.match(parseSource('./x.gguf'), { kind: 'file', path: resolve('x.gguf') })
  t.match(parseSource('file:///tmp/x.gguf'), { kind: 'file', path: '/tmp/x.gguf' })
})

test('what cannot be a source is refused, and no key is repeated', async t => {
  const bad: Record<string, RegExp> = {
    '': /nothing is named; expected hf:OWNER/,
    'hf:alone': /names nothing on the hub/,
    'hf:a/b/../c.gguf': /names nothing on the hub/,
    'hf:a/..:Q4': /names nothing on the hub/,
    'hf:a/b/c.gguf:Q4': /names nothing on the hub/,
    'http://example.com/x.gguf': /expected https:\/\//,
    'http://localhost.example.com/x.gguf': /expected https:\/\//,
    'ftp://example.com/x.gguf': /expected https:\/\//,
    'https://user:secret@example.com/x.gguf': /expected a URL without user name and password/,
    'https://user:secret@': /the URL cannot be read/
  }
  for (const [text, expected] of Object.entries(bad)) {
    t.throws(() => parseSource(text), expected, text)
    t.not(messageOf(() => parseSource(text)).includes('secret'), true, 'no secret')
  }
})

function messageOf (work: () => unknown): string {
  try { work() } catch (thrown) { return (thrown as Error).message }
  return ''
}

test('HF_ENDPOINT is a place that a token may go to', async t => {
  t.match(hubOf({}), { url: new URL('https://huggingface.co'), token: null })
  t.match(hubOf({ HF_ENDPOINT: 'https://hub.example.com/', HF_TOKEN: 'hf_x\n' }).token, { origin: 'https://hub.example.com', value: 'hf_x' })
  t.match(hubOf({ HF_ENDPOINT: 'http://127.0.0.1:8000' }).url.port, '8000')
  t.throws(() => hubOf({ HF_ENDPOINT: 'http://hub.example.com' }), /HF_ENDPOINT: expected https:\/\/, got http:\/\/hub\.example\.com/)
  t.throws(() => hubOf({ HF_ENDPOINT: 'hub' }), /HF_ENDPOINT: expected a URL/)
  t.throws(() => hubOf({ HF_TOKEN: 'a b' }), /HF_TOKEN: expected printable ASCII/)
})

test('a quantisation is found by its whole name', async t => {
  const files = ['m-Q4_K_M.gguf', 'm-Q4_K_S.gguf', 'm-IQ4_XS.gguf', 'm.Q8_0.gguf', 'BF16/m-bf16.gguf', 'mmproj-m-Q8_0.gguf', 'm-Q8_0.safetensors'].map(path => ({ path, bytes: 1, sha256: null }))
  const chosen = (quantisation: string) => chooseFile(files, { repository: 'a/b', quantisation, file: null }).path
  t.equal(chosen('Q4_K_M'), 'm-Q4_K_M.gguf')
  t.equal(chosen('q4_k_s'), 'm-Q4_K_S.gguf')
  t.equal(chosen('IQ4_XS'), 'm-IQ4_XS.gguf')
  t.equal(chosen('Q8_0'), 'm.Q8_0.gguf', 'a projector is no model')
  t.equal(chosen('BF16'), 'BF16/m-bf16.gguf')
  t.throws(() => chosen('Q4_K'), /has no Q4_K; there is/)
  t.throws(() => chosen('XS'), /has no XS/)
  const two = [...files, { path: 'ud/m-UD-Q4_K_M.gguf', bytes: 1, sha256: null }]
  t.throws(() => chooseFile(two, { repository: 'a/b', quantisation: 'Q4_K_M', file: null }), /2 files for Q4_K_M; name one: hf:a\/b\/m-Q4_K_M\.gguf, hf:a\/b\/ud/)
  t.equal(chooseFile(two, { repository: 'a/b', quantisation: null, file: 'ud/m-UD-Q4_K_M.gguf' }).path, 'ud/m-UD-Q4_K_M.gguf')
})

test('text from elsewhere cannot move the cursor', async t => {
  t.equal(printable('a\u001b[2Jb\u0007\r\n\u202e'), 'a?[2Jb????')
  t.equal(printable('x'.repeat(300)).length, 201)
})

// Checks an exported pilot model through node-llama-cpp.
//
//   node verify.mjs pilot.Q8_0.gguf cases.json            template, skills, speed and memory
//   node verify.mjs pilot.F32.gguf cases.json answers.json   also: same tokens as PyTorch
//
// cases.json:   python3 eval.py --cases cases.json
// answers.json: python3 eval.py model.pt --answers answers.json (also holds tokenizer samples)
import fs from 'node:fs'
import { performance } from 'node:perf_hooks'
import { Template } from '@huggingface/jinja'
import { getLlama, resolveChatWrapper } from 'node-llama-cpp'

const [modelPath, casesPath, answersPath] = process.argv.slice(2)
const cases = JSON.parse(fs.readFileSync(casesPath, 'utf8'))
const mb = () => Math.round(process.memoryUsage().rss / 2 ** 20)

const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: 'warn' })
const before = mb()
let t = performance.now()
const model = await llama.loadModel({ modelPath })
console.log(`load ${(performance.now() - t).toFixed(0)} ms`)
t = performance.now()
const context = await model.createContext({ contextSize: 2048 })
console.log(`context of ${context.contextSize} in ${(performance.now() - t).toFixed(0)} ms; train context ${model.trainContextSize}; ` +
    `memory of the process ${before} MB before, ${mb()} MB after; chat wrapper ${resolveChatWrapper(model).wrapperName}`)
const sequence = context.getSequence()

async function greedy (prompt, most = 600) {
  await sequence.clearHistory()
  const out = []
  for await (const token of sequence.evaluate(prompt, { temperature: 0 })) {
    if (model.isEogToken(token) || out.push(token) >= most)
      break
  }
  return out
}

// 1. the Jinja template in the file writes what the model was trained on
const template = new Template(model.fileInfo.metadata.tokenizer.chat_template)
let same = 0
for (const c of cases) {
  const text = template.render({ messages: c.messages, ...(c.tools && { tools: c.tools }), 'add_generation_prompt': true })
  if (text === c.prompt) same++
  else if (same >= 0 && cases.indexOf(c) - same < 2) console.log('template differs', JSON.stringify(text), JSON.stringify(c.prompt))
}
console.log(`chat template: ${same} of ${cases.length} prompts equal`)

// 2. the same tokens as the Python tokenizer; the same answers as PyTorch
if (answersPath) {
  const { strings, answers } = JSON.parse(fs.readFileSync(answersPath, 'utf8'))
  const bad = strings.filter(({ text, ids }) => String(model.tokenize(text, false, 'trimLeadingSpace')) !== String(ids) &&
        String(model.tokenize(text, false)) !== String(ids))
  console.log(`tokenizer: ${strings.length - bad.length} of ${strings.length} strings equal`, bad.slice(0, 5).map((x) => x.text))
  let equal = 0
  for (const a of answers) {
    const got = await greedy(model.tokenize(a.prompt, true))
    if (String(got) === String(a.ids)) equal++
    else console.log('answer differs', JSON.stringify(model.detokenize(got)), JSON.stringify(model.detokenize(a.ids)))
  }
  console.log(`greedy answers: ${equal} of ${answers.length} equal to PyTorch's`)
}

// 3. skills
const score = new Map()
let made = 0
t = performance.now()
for (const c of cases) {
  const ids = await greedy(model.tokenize(c.prompt, true))
  made += ids.length
  const got = model.detokenize(ids, true)
  const ok = c.skill === 'story'
    ? got.split('. ').length === c.expected.split('. ').length && got.includes(/time, an? \w+ (\w+)/.exec(c.expected)[1])
    : got === c.expected
  const s = score.get(c.skill) ?? [0, 0]
  score.set(c.skill, [s[0] + ok, s[1] + 1])
}
for (const [skill, [ok, n]] of score)
  console.log(`${skill.padEnd(24)} ${(100 * ok / n).toFixed(1)}%`)
const all = [...score.values()].reduce((a, [ok]) => a + ok, 0)
console.log(`all ${(100 * all / cases.length).toFixed(1)}% of ${cases.length}; ${made} tokens in ${((performance.now() - t) / 1000).toFixed(0)} s`)

// 4. speed
const long = model.tokenize('<|im_start|>user\nCount from 1 to 100<|im_end|>\n<|im_start|>assistant\n', true)
t = performance.now()
const n = (await greedy(long)).length
console.log(`generation ${(n / (performance.now() - t) * 1000).toFixed(0)} tokens/s (${n} tokens); memory ${mb()} MB`)
const prompt = model.tokenize(cases.slice(-40).map((c) => c.prompt).join(''), true).slice(0, 1800)
t = performance.now()
await greedy(prompt, 1)
console.log(`prompt ${(prompt.length / (performance.now() - t) * 1000).toFixed(0)} tokens/s (${prompt.length} tokens)`)
await llama.dispose()

/**
 * llama.cpp itself, in a process of its own: what it makes of grammars, and what a model writes that is held to one.
 * Reads a task as JSON from standard input, writes the result as JSON to standard output.
 */
import { text as readAll } from 'node:stream/consumers'
import { getLlama, LlamaGrammarEvaluationState, LlamaLogLevel, type LlamaGrammar, type Token } from 'node-llama-cpp'
import { BUILTIN_MODEL } from '../../../src/models/builtin.ts'

export type Task =
  | { readonly kind: 'match', readonly grammars: readonly { readonly grammar: string, readonly texts: readonly string[] }[] }
  | { readonly kind: 'write', readonly grammars: readonly string[], readonly seeds: readonly number[], readonly maxTokens: number, readonly prompt: string }

/** For `match`: whether each text matches, or null when the grammar is refused. */
export type Matched = readonly (readonly boolean[] | null)[]
export interface Written { readonly grammar: number, readonly text: string, readonly isComplete: boolean }

const SLOTS = 10

const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, progressLogs: false, maxThreads: 1, logLevel: LlamaLogLevel.disabled })
const task = JSON.parse(await readAll(process.stdin)) as Task
const result = task.kind === 'match' ? await match(task) : await write(task)
process.stdout.write(JSON.stringify(result))
await llama.dispose()

async function match ({ grammars }: Task & { kind: 'match' }): Promise<Matched> {
  return Promise.all(grammars.map(async ({ grammar, texts }) => {
    try {
      const made = await llama.createGrammar({ grammar, rootRuleName: 'root' })
      // oxlint-disable-next-line no-underscore-dangle -- the library's own name for it
      return texts.map(one => (made as LlamaGrammar & { _testText (text: string): boolean })._testText(one))
    } catch {
      return null
    }
  }))
}

async function write ({ grammars, seeds, maxTokens, prompt }: Task & { kind: 'write' }): Promise<Written[]> {
  const model = await llama.loadModel({ modelPath: BUILTIN_MODEL.path })
  const context = await model.createContext({ contextSize: 512, sequences: SLOTS, batchSize: 512, threads: 1 })
  const made = await Promise.all(grammars.map(grammar => llama.createGrammar({ grammar, rootRuleName: 'root' })))
  const waiting = made.flatMap((grammar, index) => seeds.map(seed => ({ grammar, index, seed }))).values()
  const tokens = model.tokenize(prompt, true)
  const written: Written[] = []
  await Promise.all(Array.from({ length: SLOTS }, async () => {
    const sequence = context.getSequence()
    for (const { grammar, index, seed } of waiting) {
      await sequence.clearHistory()
      const said: Token[] = []
      let isComplete = false
      const answer = sequence.evaluate(tokens, {
        temperature: 1.5, topK: 0, topP: 1, minP: 0, seed, grammarEvaluationState: new LlamaGrammarEvaluationState({ model, grammar }), yieldEogToken: true
      })
      for await (const token of answer) {
        isComplete = model.isEogToken(token)
        if (isComplete) break
        said.push(token)
        if (said.length >= maxTokens) break
      }
      written.push({ grammar: index, text: model.detokenize(said), isComplete })
    }
  }))
  return written
}

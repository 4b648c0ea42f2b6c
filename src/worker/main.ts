/** `node src/worker/main.ts --model FILE --name NAME --socket PATH …`: what the pool spawns. */
import { parseArgs } from 'node:util'
import { thinkingTokensOf } from './effort.ts'
import type { Gpu } from './binary.ts'
import { runWorker, type WorkerOptions } from './run.ts'

const EXIT_USAGE = 64
const GPUS = ['auto', 'cuda', 'vulkan', 'metal', 'false']

process.exit(await start(process.argv.slice(2)))

async function start (argv: string[]): Promise<number> {
  let options
  try {
    options = readArguments(argv)
  } catch (thrown) {
    process.stderr.write(`torchgate worker: ${(thrown as Error).message}\n`)
    return EXIT_USAGE
  }
  return runWorker(options)
}

function readArguments (argv: string[]): WorkerOptions {
  const { values } = parseArgs({
    args: argv,
    options: {
      model: { type: 'string' },
      name: { type: 'string' },
      socket: { type: 'string' },
      host: { type: 'string' },
      port: { type: 'string' },
      slots: { type: 'string', default: '4' },
      'context-tokens': { type: 'string', default: '4096' },
      'batch-tokens': { type: 'string', default: '512' },
      threads: { type: 'string', default: '1' },
      gpu: { type: 'string', default: 'auto' },
      sha256: { type: 'string' },
      'chat-template': { type: 'string' },
      'thinking-tokens': { type: 'string', default: '' },
      'spill-folder': { type: 'string' },
      'spill-bytes': { type: 'string', default: '0' },
      'vocabulary-only': { type: 'boolean', default: false }
    }
  })
  const { model, name, socket, port, gpu, 'spill-folder': spillFolder } = values
  if (model === undefined) throw new Error('--model is missing: a GGUF file.')
  if ((socket === undefined) === (port === undefined)) throw new Error('expected either --socket or --port.')
  if (!GPUS.includes(gpu)) throw new Error(`--gpu ${gpu}: expected one of ${GPUS.join(', ')}.`)
  return {
    model,
    name: name ?? 'model',
    socket,
    host: values.host,
    port: port === undefined ? undefined : whole('port', port, 0, 65_535),
    slots: whole('slots', values.slots, 1, 256),
    contextTokens: whole('context-tokens', values['context-tokens'], 256, 1_048_576),
    batchTokens: whole('batch-tokens', values['batch-tokens'], 32, 16_384),
    threads: whole('threads', values.threads, 1, 512),
    gpu: gpu === 'false' ? false : gpu as Gpu,
    sha256: values.sha256,
    chatTemplate: values['chat-template'],
    thinkingTokens: thinkingTokensOf(values['thinking-tokens']),
    spill: spillFolder === undefined ? undefined : { folder: spillFolder, bytes: whole('spill-bytes', values['spill-bytes'], 0, Number.MAX_SAFE_INTEGER) },
    vocabularyOnly: values['vocabulary-only']
  }
}

function whole (name: string, value: string, least: number, most: number): number {
  const number = Number(value)
  if (!/^\d+$/.test(value) || number < least || number > most) throw new Error(`--${name} ${value}: expected a whole number from ${least} to ${most}.`)
  return number
}

#!/usr/bin/env node
/** The command line. Each command is one file in cli/, loaded only when it is asked for. */
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { VERSION } from './version.ts'

// Halves every start but the first. Beside the code, because whoever can write there can change the code as well;
// where nobody can write, nothing is kept.
enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/torchgate'))

// A reader that has left, as head does, is no fault; the gateway goes on without one.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => { if (error.code !== 'EPIPE') throw error })
}

const program = new Command('torchgate')
  .description('A self-hosted, OpenAI-compatible inference gateway.')
  .version(VERSION)
  .showHelpAfterError('Add --help to see what there is.')

program.command('start')
  .description('start the gateway; what runs when no command is given')
  .option('-c, --config <file>', 'configuration file (YAML or JSON); without it the built-in model answers on loopback')
  .option('-m, --model <file>', 'serve this GGUF file, or model:NAME, instead of the built-in model (without --config)')
  .option('-p, --port <number>', 'port of the API', port)
  .option('--host <address>', 'address of the API')
  .option('--admin-port <number>', 'port of metrics, health and the admin API', port)
  .option('--data-dir <folder>', 'folder of the database and the key pepper')
  .action(async options => { process.exit(await (await import('./cli/start.ts')).start(options, process.env)) })

program.command('worker')
  .description('serve one GGUF model over HTTP; the gateway starts these itself')
  .requiredOption('--model <file>', 'GGUF file')
  .option('--name <name>', 'name of the model', 'model')
  .option('--host <address>', 'address to listen on', '127.0.0.1')
  .option('--port <number>', 'port; without it a free one is taken', port)
  .addOption(new Option('--socket <path>', 'listen on this Unix socket instead').conflicts('port'))
  .option('--slots <number>', 'calls answered at once', count, 4)
  .option('--context-tokens <number>', 'longest prompt plus answer', count, 4096)
  .option('--batch-tokens <number>', 'tokens computed in one step', count, 512)
  .option('--threads <number>', 'CPU threads', count, 1)
  .addOption(new Option('--gpu <kind>', 'what computes').choices(['auto', 'cuda', 'vulkan', 'metal', 'false']).default('auto'))
  .option('--sha256 <hex>', 'digest the file must have')
  .option('--chat-template <file>', 'instead of the one it brings: chatml, or a file of Jinja')
  .option('--thinking-tokens <efforts>', 'most tokens of thought, as low=2048,default=8192')
  .action(async options => { process.exit(await (await import('./cli/worker.ts')).worker(options)) })

program.command('check')
  .description('check a configuration file')
  .argument('<file>')
  .action(async file => { process.exitCode = await (await import('./cli/check.ts')).check(file, { env: process.env }) })

program.command('explain')
  .description('say which target a call would go to, and why')
  .requiredOption('--model <name>', 'public model name')
  .option('--tenant <name>', 'tenant', 'default')
  .option('--class <class>', 'what the caller says in x-torchgate-class')
  .option('--prompt <text>', 'what is asked, for models whose order is complexity')
  .option('-c, --config <file>', 'configuration file')
  .action(async options => { process.exitCode = await (await import('./cli/explain.ts')).explainCall(options, process.env) })

const keys = program.command('keys').description('API keys')
keys.command('create')
  .description('make a key and print it, once')
  .option('--tenant <name>', 'tenant it belongs to', 'default')
  .option('--name <text>', 'what it is for', '')
  .option('--admin', 'for the admin API instead of inference', false)
  .option('--expires <date>', 'last day, as ISO date')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .action(async options => { process.exitCode = await (await import('./cli/keys.ts')).create(options, process.env) })
keys.command('list')
  .description('list keys, without their secrets')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .option('--json', 'as JSON', false)
  .action(async options => { process.exitCode = await (await import('./cli/keys.ts')).list(options, process.env) })
keys.command('revoke')
  .description('revoke a key; running gateways refuse it within five seconds')
  .argument('<id>', 'its id, as keys list shows it, or the whole key')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .action(async (id, options) => { process.exitCode = await (await import('./cli/keys.ts')).revoke(id, options, process.env) })

const models = program.command('models').description('models on this host')
models.command('pull')
  .description('fetch a model and verify it; the same command goes on where one was stopped')
  .argument('<source>', 'hf:OWNER/REPO:QUANTISATION, hf:OWNER/REPO/FILE.gguf, https://… or a file')
  .option('--name <name>', 'what it is called here; the name of its file if left out')
  .option('--sha256 <hex>', 'digest it must have')
  .option('--accept-licence <name>', 'record that you have read this licence and agree; may be repeated', repeated, [])
  .option('--offline', 'fetch nothing; as TORCHGATE_OFFLINE does', false)
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .action(async (source, options) => { process.exitCode = await (await import('./cli/models.ts')).pull(source, options, process.env) })
models.command('list')
  .description('list what has been pulled, and what has been begun')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .option('--json', 'as JSON', false)
  .action(async options => { process.exitCode = await (await import('./cli/models.ts')).list(options, process.env) })
models.command('show')
  .description('say all that is known of a model')
  .argument('<name>')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .option('--json', 'as JSON', false)
  .action(async (name, options) => { process.exitCode = await (await import('./cli/models.ts')).show(name, options, process.env) })
models.command('verify')
  .description('read every byte again and compare digests')
  .argument('[name]', 'all models if left out')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .action(async (name, options) => { process.exitCode = await (await import('./cli/models.ts')).verify(name, options, process.env) })
models.command('accept')
  .description('record that you have read a licence and agree; models under it are served')
  .argument('<licence>', 'its name, as models list shows it')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .action(async (licence, options) => { process.exitCode = await (await import('./cli/models.ts')).accept(licence, options, process.env) })
models.command('rollback')
  .description('go back to the version before the last pull')
  .argument('<name>')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .action(async (name, options) => { process.exitCode = await (await import('./cli/models.ts')).rollback(name, options, process.env) })
models.command('rm')
  .description('remove a model, both versions')
  .argument('<name>')
  .option('-c, --config <file>', 'configuration file')
  .option('--data-dir <folder>', 'folder of the database')
  .action(async (name, options) => { process.exitCode = await (await import('./cli/models.ts')).remove(name, options, process.env) })

const route = program.command('route').description('which prompts are hard')
route.command('train')
  .description('train a scorer from what a weak and a strong model answered, and say how good it is on prompts it has not seen')
  .argument('<files...>', 'JSONL, also .gz, a line for each prompt: {"prompt": text, "weak": grade, "strong": grade}')
  .requiredOption('--out <file>', 'where the scorer is written')
  .option('--name <name>', 'name of the scorer, for explanations', 'trained')
  .option('--folds <number>', 'parts the prompts are divided in; each is scored by what the others taught', count, 5)
  .option('--share <number>', 'share of the calls that may go to the strong model, for the threshold', share, 0.3)
  .action(async (files, options) => { process.exitCode = await (await import('./cli/route.ts')).trainScorer(files, options) })
route.command('score')
  .description('score a prompt and say why')
  .argument('[prompt]', 'read from standard input if left out')
  .option('--scorer <file>', 'one that was trained; without it the heuristic')
  .action(async (prompt, options) => { process.exitCode = await (await import('./cli/route.ts')).scorePrompt(prompt, options) })

program.command('docs')
  .description('print the reference pages from the code')
  .option('--check', 'only compare, exit 1 when one differs', false)
  .action(async options => { process.exitCode = await (await import('./cli/docs.ts')).printDocs(options) })

const argv = process.argv.slice(2)
await program.parseAsync(namesCommand(argv[0]) ? argv : ['start', ...argv], { from: 'user' })

function namesCommand (first: string | undefined): boolean {
  return first !== undefined && (!first.startsWith('-') || ['-h', '--help', '-V', '--version'].includes(first))
}

function port (text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > 65_535) throw new InvalidArgumentError('expected a number from 0 to 65535.')
  return value
}

function repeated (text: string, before: readonly string[]): readonly string[] { return [...before, text] }

function share (text: string): number {
  const value = Number(text)
  if (!/^[\d.]+$/.test(text) || !(value >= 0 && value <= 1)) throw new InvalidArgumentError('expected a number from 0 to 1.')
  return value
}

function count (text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1) throw new InvalidArgumentError('expected a number from 1.')
  return value
}

/** Whole programs at work: each reads a file with a tool because a scripted backend tells it to, and asks the built-in model something. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { complete, type Members } from '../gateway/script.ts'
import { installed, run, type Ran } from './installed.ts'
import { serve, type Served } from './served.ts'

const WORD = 'kingfisher'
const NOTE = 'note.txt'

/** How each tool that can read a file is asked to. */
const READERS: Readonly<Record<string, (file: string) => Members>> = {
  Read: file => ({ file_path: file }),
  read_file: file => ({ file_path: file }),
  exec_command: file => ({ cmd: `cat ${file}` }),
  shell: file => ({ command: ['cat', file] }),
  shell_command: file => ({ command: `cat ${file}` })
}

/** The scripted backend: has the note read by whatever tool there is, and repeats what it heard. */
function reader (file: string) {
  return (body: Members, response: Parameters<typeof complete>[1]) => {
    const messages = body['messages'] as Members[]
    const name = ((body['tools'] ?? []) as Members[]).map(tool => tool['function'].name as string).find(tool => tool in READERS)
    const heard = messages.filter(({ role }) => role === 'tool').map(({ content }) => JSON.stringify(content)).join('')
    if (name === undefined || heard !== '') complete(body, response, { content: heard.includes(WORD) ? `The note says ${WORD}.` : `There is no note: ${heard}` })
    else complete(body, response, { tool_calls: [{ id: 'call_1', type: 'function', function: { name, arguments: JSON.stringify(READERS[name]!(file)) } }] }, 'tool_calls')
  }
}

interface Program {
  readonly name: string
  readonly file: string
  readonly endpoint: string
  /** @param brief leaves out what the program says before the question: with its tools that is more than the built-in model can read */
  start (t: Test, path: string, served: Served, model: string, question: string, folder: string, brief: boolean): Promise<Ran>
}

const INSTRUCTIONS = 'Be brief.'
/** What brings tools and instructions with it. */
const CODEX_FEATURES = ['shell_tool', 'unified_exec', 'view_image', 'multi_agent', 'apps', 'goals', 'tool_suggest', 'skill_search', 'plugins', 'image_generation', 'sleep_tool', 'hooks', 'code_mode_host', 'deferred_tool_world_state']

const QWEN_TOOLS = ['edit', 'get_goal', 'notebook_edit', 'read_file', 'run_shell_command', 'update_goal']

const PROGRAMS: readonly Program[] = [
  {
    name: 'Codex',
    file: '@openai/codex/bin/codex.js',
    endpoint: 'responses',
    start (t, path, { url, apiKey }, model, question, folder, brief) {
      mkdirSync(join(folder, '.codex'), { recursive: true })
      writeFileSync(join(folder, 'instructions.md'), INSTRUCTIONS)
      writeFileSync(join(folder, '.codex/config.toml'), `
model = "${model}"
model_provider = "torchgate"
${brief
  ? `model_instructions_file = "${join(folder, 'instructions.md')}"
include_permissions_instructions = false
include_apps_instructions = false
include_collaboration_mode_instructions = false
include_environment_context = false
web_search = "disabled"
`
  : ''}
[model_providers.torchgate]
name = "torchgate"
base_url = "${url}/v1"
env_key = "TORCHGATE_KEY"
wire_api = "responses"
${brief ? `[features]\n${CODEX_FEATURES.map(feature => `${feature} = false\n`).join('')}` : ''}`)
      return run(t, process.execPath, [path, 'exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', question], folder, { TORCHGATE_KEY: apiKey })
    }
  },
  {
    name: 'Claude Code',
    file: `@anthropic-ai/claude-code-${process.platform}-${process.arch}/claude`,
    endpoint: 'messages',
    start: (t, path, { url, apiKey }, model, question, folder, brief) => run(t, path, ['-p', question, '--model', model, ...brief ? ['--bare', '--system-prompt', INSTRUCTIONS, '--tools', ''] : ['--allowedTools', 'Read']], folder, {
      ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: apiKey, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1'
    })
  },
  {
    name: 'Qwen Code',
    file: '@qwen-code/qwen-code/cli.js',
    endpoint: 'chat_completions',
    start: (t, path, { url, apiKey }, model, question, folder, brief) => run(t, process.execPath, [path, '-p', question, '--auth-type', 'openai', ...brief ? ['--bare', '--system-prompt', INSTRUCTIONS, ...QWEN_TOOLS.flatMap(tool => ['--exclude-tools', tool])] : ['--yolo']], folder, {
      OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: apiKey, OPENAI_MODEL: model
    })
  }
]

function workplace (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'torchgate-client-'))
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  return folder
}

for (const program of PROGRAMS) {
  const { path, skip } = installed(program.file)

  test(`${program.name} uses a tool`, { skip, timeout: 120_000 }, async t => {
    const work = workplace(t)
    writeFileSync(join(work, NOTE), `The word is ${WORD}.\n`)
    const served = await serve(t, reader(join(work, NOTE)))
    const { code, said, complained } = await program.start(t, path, served, 'm', `What does ${NOTE} say?`, work, false)
    t.equal(code, 0, complained)
    t.match(said, `The note says ${WORD}.`)
    t.ok(served.script.asked.length >= 2)
    for (const { outcome, endpoint } of await served.records(2)) t.strictSame([outcome, endpoint], ['ok', program.endpoint])
  })

  test(`${program.name} hears the built-in model`, { skip, timeout: 120_000 }, async t => {
    const work = workplace(t)
    const served = await serve(t, reader(''))
    const { code, said, complained } = await program.start(t, path, served, 'pilot', 'What is the capital of France?', work, true)
    t.equal(code, 0, complained)
    t.comment(`it says ${JSON.stringify(said.trim())}`)
    t.ok(said.trim().length > 0)
    t.match((await served.records(1))[0], { outcome: 'ok', endpoint: program.endpoint, status: 200 })
  })
}

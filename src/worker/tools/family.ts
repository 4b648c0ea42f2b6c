/**
 * How families of models write calls of tools. The chat template of a model tells which: it shows the model its own
 * earlier calls, in the form in which it was trained to write them.
 */
export interface Family {
  readonly name: 'hermes' | 'mistral' | 'llama3' | 'json' | 'deepseek-r1' | 'deepseek-v3' | 'harmony'
  /** What a call begins with. None: a JSON object at the very beginning of the answer is one, if `isBare`. */
  readonly openings: readonly string[]
  /** A JSON object at the beginning of the answer, or after a call, is a call too, if it names one of the tools. */
  readonly isBare: boolean
  /** Between the opening and the JSON; a group `name` is the tool's. */
  readonly head: RegExp
  /** Matches what may become a head. */
  readonly headSoFar: RegExp
  /** What a call ends with, or null when its JSON is the end. */
  readonly closing: string | null
  /** What stands behind the last call, if anything does. */
  readonly ending: string | null
  /** Stands between calls and means nothing. */
  readonly separator: RegExp
  /** Texts that may be control tokens of the vocabulary, which otherwise would not be seen. */
  readonly markers: readonly string[]
  readonly forced: Forced
  /** Tells a model of its tools whose chat template does not, though it was trained to call them; null where templates do. */
  readonly introduce: ((tools: readonly unknown[]) => string) | null
}

/** How an answer that has to be calls is written. */
export interface Forced {
  readonly before: string
  readonly after: string
  /** Between two calls; null when an answer has one. */
  readonly between: string | null
  /** What stands before the arguments of a call, and behind them. */
  call (name: string): { readonly before: string, readonly after: string }
}

const NOTHING = /^\s*$/

function objectWith (argumentsName: string): Forced['call'] {
  return name => ({ before: `{"name": ${JSON.stringify(name)}, "${argumentsName}": `, after: '}' })
}

/** Hermes 2 and 3, Qwen 2.5 and 3, and many that learned from them: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`. */
const HERMES: Family = {
  name: 'hermes',
  openings: ['<tool_call>'],
  isBare: false,
  head: NOTHING,
  headSoFar: NOTHING,
  closing: '</tool_call>',
  ending: null,
  separator: /^\s*/,
  markers: ['<tool_call>', '</tool_call>'],
  forced: { before: '<tool_call>\n', after: '\n</tool_call>', between: '\n</tool_call>\n<tool_call>\n', call: objectWith('arguments') },
  introduce: null
}

/** `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and since Mistral Small 3.1 `[TOOL_CALLS]name[ARGS]{…}` for each. */
const MISTRAL: Family = {
  name: 'mistral',
  openings: ['[TOOL_CALLS]'],
  isBare: false,
  head: /^\s*(?:(?<name>[\w.-]{1,64})(?:\[CALL_ID\]\w{1,64})?\[ARGS\]\s*)?$/,
  headSoFar: /^\s*[\w.-]{0,64}(?:\[[A-Z_]{0,7}(?:\]\w{0,64})?)?(?:\[[A-Z]{0,4}\]?\s*)?$/,
  closing: null,
  ending: null,
  separator: /^\s*/,
  markers: ['[TOOL_CALLS]', '[ARGS]', '[CALL_ID]'],
  forced: { before: '[TOOL_CALLS][', after: ']', between: ', ', call: objectWith('arguments') },
  introduce: null
}

/** Llama 3.1 to 3.3: `{"name": …, "parameters": {…}}` as the whole answer, several with `;` between, perhaps behind a tag. */
const LLAMA3: Family = {
  name: 'llama3',
  openings: ['<|python_tag|>'],
  isBare: true,
  head: NOTHING,
  headSoFar: NOTHING,
  closing: null,
  ending: null,
  separator: /^[\s;]*/,
  markers: ['<|python_tag|>'],
  forced: { before: '', after: '', between: '; ', call: objectWith('parameters') },
  introduce: null
}

/** A template that shows tools in no way known here: `{"name": …, "arguments": {…}}` as the whole answer. */
const JSON_OBJECT: Family = {
  name: 'json',
  openings: [],
  isBare: true,
  head: NOTHING,
  headSoFar: NOTHING,
  closing: null,
  ending: null,
  separator: /^\s*/,
  markers: [],
  forced: { before: '', after: '', between: '\n', call: objectWith('arguments') },
  introduce: null
}

const DEEPSEEK_MARKERS = ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>', '<｜tool▁call▁begin｜>', '<｜tool▁call▁end｜>', '<｜tool▁sep｜>']

/** What DeepSeek R1 and V3, and V3.1, have in common. Behind the opening anything may stand for a while: nothing else begins with it. */
const DEEPSEEK = {
  openings: ['<｜tool▁calls▁begin｜>', '<｜tool▁call▁begin｜>'],
  isBare: false,
  headSoFar: /^[^{[]*$/,
  ending: '<｜tool▁calls▁end｜>',
  separator: /^\s*/,
  markers: DEEPSEEK_MARKERS
} as const

/** DeepSeek R1 and V3: `<｜tool▁call▁begin｜>function<｜tool▁sep｜>name`, then the arguments as a block of code. */
const DEEPSEEK_R1: Family = {
  ...DEEPSEEK,
  name: 'deepseek-r1',
  head: /^\s*(?:<｜tool▁call▁begin｜>)?\s*(?:function)?<｜tool▁sep｜>\s*(?<name>[\w.-]{1,64})\s*(?:```(?:json)?\s*)?$/,
  closing: '```<｜tool▁call▁end｜>',
  forced: {
    before: '<｜tool▁calls▁begin｜>',
    after: '<｜tool▁calls▁end｜>',
    between: '\n',
    call: name => ({ before: `<｜tool▁call▁begin｜>function<｜tool▁sep｜>${name}\n\`\`\`json\n`, after: '\n```<｜tool▁call▁end｜>' })
  },
  introduce: tools => introduced(tools, '<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```<｜tool▁call▁end｜>')
}

/** DeepSeek V3.1: `<｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}<｜tool▁call▁end｜>`. */
const DEEPSEEK_V3: Family = {
  ...DEEPSEEK,
  name: 'deepseek-v3',
  head: /^\s*(?:<｜tool▁call▁begin｜>)?\s*(?<name>[\w.-]{1,64})<｜tool▁sep｜>\s*$/,
  closing: '<｜tool▁call▁end｜>',
  forced: {
    before: '<｜tool▁calls▁begin｜>',
    after: '<｜tool▁calls▁end｜>',
    between: '',
    call: name => ({ before: `<｜tool▁call▁begin｜>${name}<｜tool▁sep｜>`, after: '<｜tool▁call▁end｜>' })
  },
  introduce: tools => introduced(tools, '<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>ARGUMENTS<｜tool▁call▁end｜>')
}

/** In the words of DeepSeek's model cards, as far as they agree. */
function introduced (tools: readonly unknown[], call: string): string {
  const listed = tools.map(tool => `\`\`\`json\n${JSON.stringify(tool)}\n\`\`\``).join('\n\n')
  return `## Tools\n\nYou have access to the following tools:\n\n${listed}\n\nTo call tools, always use exactly this format:\n<｜tool▁calls▁begin｜>${call}<｜tool▁calls▁end｜>\n` +
    'NAME is the name of one of the tools, ARGUMENTS is JSON that follows its parameters. For several calls, repeat the part of one call.'
}

/** gpt-oss: a call is a message of its own, which is read where messages are told apart (channels.ts). One ends the answer. */
const HARMONY: Family = {
  name: 'harmony',
  openings: [],
  isBare: false,
  head: NOTHING,
  headSoFar: NOTHING,
  closing: null,
  ending: null,
  separator: /^/,
  markers: [],
  forced: {
    before: '<|channel|>commentary to=functions.',
    after: '',
    between: null,
    call: name => ({ before: `${name} <|constrain|>json<|message|>`, after: '' })
  },
  introduce: null
}

/** Forms that are no JSON (Qwen 3 Coder, GLM, DeepSeek V3.2, Kimi, Cohere): better refused than taken for text. */
const UNREADABLE = ['<function=', '<arg_key>', '<｜DSML｜', '<|tool_calls_section_begin|>', '<|START_ACTION|>']

/** @returns null when the template knows no tools, or calls are written in a form that is not read here */
export function familyOf (template: string): Family | null {
  if (UNREADABLE.some(mark => template.includes(mark))) return null
  if (template.includes('<｜tool▁sep｜>')) return template.includes('```json') ? DEEPSEEK_R1 : DEEPSEEK_V3
  if (!/\btools\b/.test(template)) return null
  if (speaksInChannels(template)) return HARMONY
  if (template.includes('[TOOL_CALLS]')) return MISTRAL
  if (template.includes('<tool_call>')) return HERMES
  if (template.includes('<|python_tag|>') || (template.includes('<|start_header_id|>') && template.includes('parameters'))) return LLAMA3
  return JSON_OBJECT
}

/** gpt-oss, and who learned from it: an answer is several messages, each with a channel in its head. */
export function speaksInChannels (template: string): boolean {
  return ['<|start|>', '<|channel|>', '<|message|>'].every(mark => template.includes(mark))
}

export const FAMILIES: readonly Family[] = [HERMES, MISTRAL, LLAMA3, JSON_OBJECT, DEEPSEEK_R1, DEEPSEEK_V3, HARMONY]

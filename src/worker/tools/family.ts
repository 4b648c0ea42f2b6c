/**
 * How families of models write calls of tools. The chat template of a model tells which: it shows the model its own
 * earlier calls, in the form in which it was trained to write them.
 */
export interface Family {
  readonly name: 'hermes' | 'mistral' | 'llama3' | 'json'
  /** What a call begins with. None: a JSON object at the very beginning of the answer is one. */
  readonly openings: readonly string[]
  /** A JSON object at the beginning of the answer, or after a call, is a call too, if it names one of the tools. */
  readonly isBare: boolean
  /** Between the opening and the JSON; a group `name` is the tool's. */
  readonly head: RegExp
  /** Matches what may become a head. */
  readonly headSoFar: RegExp
  /** What a call ends with, or null when its JSON is the end. */
  readonly closing: string | null
  /** Stands between calls and means nothing. */
  readonly separator: RegExp
  /** Texts that may be control tokens of the vocabulary, which otherwise would not be seen. */
  readonly markers: readonly string[]
  /** How an answer that has to be calls is written: what stands around and between them, and what their arguments are called. */
  readonly forced: { readonly before: string, readonly after: string, readonly between: string, readonly argumentsName: string }
}

const NOTHING = /^\s*$/

/** Hermes 2 and 3, Qwen 2.5 and 3, and many that learned from them: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`. */
const HERMES: Family = {
  name: 'hermes',
  openings: ['<tool_call>'],
  isBare: false,
  head: NOTHING,
  headSoFar: NOTHING,
  closing: '</tool_call>',
  separator: /^\s*/,
  markers: ['<tool_call>', '</tool_call>'],
  forced: { before: '<tool_call>\n', after: '\n</tool_call>', between: '\n</tool_call>\n<tool_call>\n', argumentsName: 'arguments' }
}

/** `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and since Mistral Small 3.1 `[TOOL_CALLS]name[ARGS]{…}` for each. */
const MISTRAL: Family = {
  name: 'mistral',
  openings: ['[TOOL_CALLS]'],
  isBare: false,
  head: /^\s*(?:(?<name>[\w.-]{1,64})(?:\[CALL_ID\]\w{1,64})?\[ARGS\]\s*)?$/,
  headSoFar: /^\s*[\w.-]{0,64}(?:\[[A-Z_]{0,7}(?:\]\w{0,64})?)?(?:\[[A-Z]{0,4}\]?\s*)?$/,
  closing: null,
  separator: /^\s*/,
  markers: ['[TOOL_CALLS]', '[ARGS]', '[CALL_ID]'],
  forced: { before: '[TOOL_CALLS][', after: ']', between: ', ', argumentsName: 'arguments' }
}

/** Llama 3.1 to 3.3: `{"name": …, "parameters": {…}}` as the whole answer, several with `;` between, perhaps behind a tag. */
const LLAMA3: Family = {
  name: 'llama3',
  openings: ['<|python_tag|>'],
  isBare: true,
  head: NOTHING,
  headSoFar: NOTHING,
  closing: null,
  separator: /^[\s;]*/,
  markers: ['<|python_tag|>'],
  forced: { before: '', after: '', between: '; ', argumentsName: 'parameters' }
}

/** A template that shows tools in no way known here: `{"name": …, "arguments": {…}}` as the whole answer. */
const JSON_OBJECT: Family = {
  name: 'json',
  openings: [],
  isBare: true,
  head: NOTHING,
  headSoFar: NOTHING,
  closing: null,
  separator: /^\s*/,
  markers: [],
  forced: { before: '', after: '', between: '\n', argumentsName: 'arguments' }
}

/** Forms that are no JSON (Qwen 3 Coder, GLM, DeepSeek, gpt-oss, Kimi, Cohere): better refused than taken for text. */
const UNREADABLE = ['<function=', '<arg_key>', '<｜tool▁calls▁begin｜>', '<｜DSML｜', '<|channel|>', '<|tool_calls_section_begin|>', '<|START_ACTION|>']

/** @returns null when the template knows no tools, or calls are written in a form that is not read here */
export function familyOf (template: string): Family | null {
  if (!/\btools\b/.test(template) || UNREADABLE.some(mark => template.includes(mark))) return null
  if (template.includes('[TOOL_CALLS]')) return MISTRAL
  if (template.includes('<tool_call>')) return HERMES
  if (template.includes('<|python_tag|>') || (template.includes('<|start_header_id|>') && template.includes('parameters'))) return LLAMA3
  return JSON_OBJECT
}

export const FAMILIES: readonly Family[] = [HERMES, MISTRAL, LLAMA3, JSON_OBJECT]

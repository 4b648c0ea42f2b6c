import { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { planThought, readThought, THINKING_TOKENS, type AskedThought } from '../../src/worker/effort.ts'

const QWEN = '{%- if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>{% endif %}'
const DEEPSEEK = '{%- if not thinking %}</think>{% endif %}'
const HARMONY = '<|start|>system<|message|>Reasoning: {{ reasoning_effort }}<|channel|>'
const SEED = '{%- if thinking_budget %}{% endif %}<seed:think>'
const PLAIN = '{{ messages }}'

const refusal = (work: () => unknown): { code: string, param: string | null } => {
  try {
    work()
  } catch (thrown) {
    if (thrown instanceof GatewayError) return { code: thrown.code, param: thrown.param }
    throw thrown
  }
  return { code: 'none', param: null }
}
const plan = (body: Record<string, unknown>, template: string, given = {}) => planThought(readThought(body), given, { name: 'm', template, configured: THINKING_TOKENS })

test('what several servers call it is read', async t => {
  const says: [body: Record<string, unknown>, asked: Partial<AskedThought>][] = [
    [{}, { effort: null, mostTokens: null }],
    [{ reasoning_effort: 'low' }, { effort: 'low', mostTokens: null, param: 'reasoning_effort' }],
    [{ reasoning: { effort: 'high', max_tokens: 500 } }, { effort: 'high', mostTokens: 500, param: 'reasoning.max_tokens' }],
    [{ reasoning: { enabled: false } }, { effort: 'none', mostTokens: null }],
    [{ thinking: { type: 'enabled', budget_tokens: 2000 } }, { effort: null, mostTokens: 2000 }],
    [{ thinking: { type: 'disabled' } }, { effort: 'none', mostTokens: null }],
    [{ thinking: { type: 'adaptive' } }, { effort: null, mostTokens: null }],
    [{ thinking_token_budget: 12 }, { effort: null, mostTokens: 12 }],
    [{ thinking_budget_tokens: -1 }, { effort: null, mostTokens: Infinity }],
    [{ reasoning_effort: 'low', reasoning: { effort: 'low' }, thinking_token_budget: 9 }, { effort: 'low', mostTokens: 9 }]
  ]
  for (const [body, asked] of says) t.match(readThought(body), asked, JSON.stringify(body))
})

test('what cannot be meant is refused by name', async t => {
  const refused: [body: Record<string, unknown>, code: string, param: string][] = [
    [{ reasoning_effort: 'huge' }, 'invalid_value', 'reasoning_effort'],
    [{ reasoning: 'low' }, 'invalid_value', 'reasoning'],
    [{ reasoning: { exclude: true } }, 'unsupported_value', 'reasoning.exclude'],
    [{ thinking: { type: 'deep' } }, 'invalid_value', 'thinking.type'],
    [{ thinking: { type: 'enabled', budget_tokens: 1.5 } }, 'invalid_value', 'thinking.budget_tokens'],
    [{ thinking_token_budget: '12' }, 'invalid_value', 'thinking_token_budget'],
    [{ thinking_token_budget: -2 }, 'invalid_value', 'thinking_token_budget'],
    [{ reasoning_effort: 'low', reasoning: { effort: 'high' } }, 'invalid_value', 'reasoning.effort'],
    [{ thinking_token_budget: 5, thinking_budget_tokens: 6 }, 'invalid_value', 'thinking_budget_tokens'],
    [{ reasoning_effort: 'none', thinking_token_budget: 5 }, 'invalid_value', 'thinking_token_budget']
  ]
  for (const [body, code, param] of refused) t.same(refusal(() => readThought(body)), { code, param }, JSON.stringify(body))
})

test('a template is told what it knows, and the rest is counted', async t => {
  t.same(plan({}, QWEN), { variables: {}, mostTokens: Infinity })
  t.same(plan({ reasoning_effort: 'low' }, QWEN), { variables: { enable_thinking: true }, mostTokens: 2048 })
  t.same(plan({ reasoning_effort: 'none' }, QWEN), { variables: { enable_thinking: false }, mostTokens: 0 })
  t.same(plan({ thinking_token_budget: 0 }, QWEN), { variables: { enable_thinking: false }, mostTokens: 0 })
  t.same(plan({ reasoning_effort: 'high', thinking_token_budget: 7 }, DEEPSEEK), { variables: { thinking: true }, mostTokens: 7 })
  t.same(plan({ reasoning_effort: 'minimal' }, HARMONY), { variables: { reasoning_effort: 'low' }, mostTokens: 1024 })
  t.same(plan({ reasoning_effort: 'none' }, HARMONY), { variables: { reasoning_effort: 'low' }, mostTokens: 0 })
  t.same(plan({ reasoning_effort: 'medium' }, PLAIN), { variables: {}, mostTokens: 8192 })
  t.same(plan({}, PLAIN, { enable_thinking: false }), { variables: { enable_thinking: false }, mostTokens: 0 }, 'a model that thinks is kept from it, whatever its template knows')
  t.equal(plan({ reasoning_effort: 'low' }, QWEN, { enable_thinking: false }).mostTokens, 0, 'an effort is what it may take at most')
  t.same(plan({ reasoning_effort: 'low' }, QWEN, { extra: 1 }).variables, { enable_thinking: true, extra: 1 })
  const configured = { default: 3, low: 4 }
  t.equal(planThought(readThought({}), {}, { name: 'm', template: QWEN, configured }).mostTokens, 3)
  t.equal(planThought(readThought({ reasoning_effort: 'low' }), {}, { name: 'm', template: QWEN, configured }).mostTokens, 4)
  t.equal(planThought(readThought({ reasoning_effort: 'max' }), {}, { name: 'm', template: QWEN, configured }).mostTokens, Infinity)
})

test('what a model cannot do is refused by name', async t => {
  t.same(refusal(() => plan({ reasoning_effort: 'xhigh' }, HARMONY)), { code: 'unsupported_value', param: 'reasoning_effort' })
  t.same(refusal(() => plan({ thinking_token_budget: 9 }, SEED)), { code: 'unsupported_value', param: 'thinking_token_budget' })
  t.same(refusal(() => plan({ reasoning_effort: 'none' }, SEED)), { code: 'unsupported_value', param: 'reasoning_effort' })
  t.same(plan({}, SEED).variables, {})
  t.same(refusal(() => plan({ reasoning_effort: 'none' }, QWEN, { enable_thinking: true })), { code: 'invalid_value', param: 'reasoning_effort' })
})

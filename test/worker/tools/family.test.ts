import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { familyOf } from '../../../src/worker/tools/family.ts'

const PILOT = readFileSync(new URL('../../../models/pilot/train/chat_template.jinja', import.meta.url), 'utf8')

test('the template of a model tells how it writes calls', async t => {
  const templates: [template: string, family: string | null][] = [
    [PILOT, 'hermes'],
    ['{%- if tools %}within <tool_call></tool_call> XML tags: {"name": <function-name>, "arguments": <args-json-object>}{% endif %}', 'hermes'],
    ['{%- if tools is not none %}{{ "[AVAILABLE_TOOLS] " }}{% endif %}{{ "[TOOL_CALLS] [" }}', 'mistral'],
    ['{{- "<|start_header_id|>system" }}{%- if tools %}Respond in the format {"name": function name, "parameters": dictionary}{{ "<|python_tag|>" }}', 'llama3'],
    ['{%- if tools %}{{ tools | tojson }}{% endif %}', 'json'],
    ['{% for message in messages %}{{ message.content }}{% endfor %}', null],
    ['{%- if tools %}<tool_call>\n<function=example>\n<parameter=a>', null],
    ['{%- if tools %}<tool_call>{function-name}<arg_key>', null],
    ['{%- if tools %}<|start|>assistant<|channel|>commentary<|message|>', 'harmony'],
    ['{% for message in messages %}<|start|>assistant<|channel|>final<|message|>', null],
    ["<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n```json", 'deepseek-r1'],
    ["<｜tool▁call▁begin｜>'+ tool['function']['name'] + '<｜tool▁sep｜>' + tool['function']['arguments'] + '<｜tool▁call▁end｜>", 'deepseek-v3'],
    ['{%- if tools %}<｜DSML｜invoke name=', null]
  ]
  for (const [template, family] of templates) t.equal(familyOf(template)?.name ?? null, family, template.slice(0, 60))
})

/**
 * ChatML, for models that bring no chat template and were tuned on it, with tools as Hermes has them. Contents are texts
 * here, and developers are system already (template.ts).
 */
export const CHATML = `{%- set has_system = messages[0].role == 'system' %}
{%- if has_system or tools %}
    {{- '<|im_start|>system\\n' + (messages[0].content if has_system else '') }}
    {%- if tools %}
        {{- ('\\n\\n' if has_system else '') + '# Tools\\n\\nYou can call these functions:\\n<tools>\\n' }}
        {%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}
        {{- '</tools>\\n\\nTo call a function, answer with its name and arguments:\\n<tool_call>\\n{"name": "...", "arguments": {...}}\\n</tool_call>' }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if loop.first and has_system %}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- ('' if loop.first and not message.content else '\\n') + '<tool_call>\\n{"name": ' + call.function.name | tojson + ', "arguments": ' + call.function.arguments | tojson + '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`

import type { LoadedConfig } from '../config/load.ts'
import type { Gateway } from '../gateway.ts'
import { VERSION } from '../version.ts'

/** What a first start prints: addresses, and once the keys with lines that work when pasted. */
export function welcome ({ url, adminUrl, firstKeys }: Gateway, { config, file }: Pick<LoadedConfig, 'config' | 'file'>): string {
  const model = config.models.find(({ name }) => !name.endsWith('*'))?.name ?? config.models[0]!.name
  const lines = [
    `torchgate ${VERSION}${file === null ? '' : ` with ${file}`}`,
    `  API      ${url}/v1`,
    `  Metrics  ${adminUrl}/metrics`,
    `  Models   ${config.models.map(({ name }) => name).join(', ')}`,
    ''
  ]
  if (firstKeys === null) return lines.join('\n')
  const here = callable(url)
  return [
    ...lines,
    'First start. These keys are shown only now:',
    `  API key    ${firstKeys.inference}`,
    `  Admin key  ${firstKeys.admin}`,
    '',
    'Try it:',
    `  curl ${here}/v1/chat/completions -H 'authorization: Bearer ${firstKeys.inference}' -H 'content-type: application/json' -d '{"model":"${model}","messages":[{"role":"user","content":"Hello"}]}'`,
    '',
    'Or with the OpenAI SDK (npm install openai):',
    "  import OpenAI from 'openai'",
    `  const client = new OpenAI({ baseURL: '${here}/v1', apiKey: '${firstKeys.inference}' })`,
    `  const answer = await client.chat.completions.create({ model: '${model}', messages: [{ role: 'user', content: 'Hello' }] })`,
    '  console.log(answer.choices[0].message.content)',
    ''
  ].join('\n')
}

/** Every address of a host is no address to call; on this host, loopback is one of them. */
function callable (url: string): string {
  return url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
}

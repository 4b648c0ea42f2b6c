import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { eventually, pilotPool, startGateway } from './harness.ts'

const yaml = (more = '') => `
backends:${pilotPool(1)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: acme }]
${more}`

/** An nvidia-smi before the PATH of this host. */
function withSmi (t: Test, script: string): { readonly env: NodeJS.ProcessEnv, print (script: string): void } {
  const folder = mkdtempSync(join(tmpdir(), 'smi-'))
  t.teardown(() => { rmSync(folder, { recursive: true, maxRetries: 5 }) })
  const print = (body: string): void => {
    writeFileSync(join(folder, 'nvidia-smi'), `#!/bin/sh\n${body}\n`)
    chmodSync(join(folder, 'nvidia-smi'), 0o755)
  }
  print(script)
  return { env: { PATH: `${folder}:${process.env['PATH']}` }, print }
}

test('metrics and status tell what the GPUs do, until nobody knows any more', async t => {
  const { env, print } = withSmi(t, 'echo "0, GPU-7f1c2d3e, 570.124.06, 1024, 143771, 37, 121.53, 41, NVIDIA H200"')
  const { admin, metric } = await startGateway(t, yaml('devices: { pollMs: 50 }'), env)
  t.ok(await eventually(async () => await metric('torchgate_gpu_energy_joules_total', { gpu: '0' }) > 0), 'energy adds up')
  const told = ['memory_used_bytes', 'memory_total_bytes', 'utilization_ratio', 'power_watts', 'temperature_celsius']
  t.strictSame(await Promise.all(told.map(name => metric(`torchgate_gpu_${name}`, { gpu: '0' }))), [1024 * 1_048_576, 143_771 * 1_048_576, 0.37, 121.53, 41])
  t.equal(await metric('torchgate_gpu_info', { gpu: '0', name: 'NVIDIA H200', uuid: 'GPU-7f1c2d3e', driver: '570.124.06' }), 1)
  t.match(await admin('/admin/v1/status'), { devices: { problem: null, gpus: [{ gpu: 0, name: 'NVIDIA H200', powerWatts: 121.53 }] } })

  print('exit 9')
  t.ok(await eventually(async () => await metric('torchgate_gpu_info') === 0))
  t.equal(await metric('torchgate_gpu_power_watts'), 0)
  t.ok(await metric('torchgate_gpu_energy_joules_total', { gpu: '0' }) > 0, 'what was used stays')
  t.match(await admin('/admin/v1/status'), { devices: { problem: 'it ended with exit 9', gpus: [] } })
})

test('a host without nvidia-smi has no such lines, and a hanging one delays neither start nor end', async t => {
  const none = await startGateway(t, yaml(), { PATH: t.testdirName })
  t.notMatch(await (await fetch(`${none.gateway.adminUrl}/metrics`)).text(), /^torchgate_gpu\w+\{/m)
  t.match(await none.admin('/admin/v1/status'), { devices: { problem: null, gpus: [] } })
  await none.gateway.close(AbortSignal.abort())

  const { env } = withSmi(t, 'exec sleep 60')
  const { gateway, client } = await startGateway(t, yaml(), env)
  const openai = await client('acme')
  const answer = await openai.chat.completions.create({ model: 'pilot', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 4 })
  t.ok(answer.choices[0]!.message.content)
  const start = performance.now()
  await gateway.close()
  t.ok(performance.now() - start < 4000)
})

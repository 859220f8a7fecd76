select mill || ' oven' as oven from {{ ref('flour', 'mills') }}

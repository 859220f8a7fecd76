select loaf from {{ ref('loaf') }} where list_price < {{ var('cheap') }}

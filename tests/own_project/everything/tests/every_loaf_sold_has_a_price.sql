select sold.loaf
from {{ ref('int_sold') }} as sold
left join {{ ref('loaf', v=1) }} as loaves using (loaf)
where loaves.loaf is null

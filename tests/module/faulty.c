// SPDX-License-Identifier: GPL-2.0-only
/*
 * faulty.ko commits the fault that its parameter names, once, and is not loaded (ECANCELED). That
 * the kernel notices is what shows that its instruments are on.
 */
#include <linux/dma-mapping.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static char *what = "nothing";
module_param(what, charp, 0);

static void use_after_free(void)
{
	u8 *p = kmalloc(100, GFP_KERNEL);

	kfree(p);
	READ_ONCE(p[8]);
}

static void beyond_end(void)
{
	u8 *p = kmalloc(100, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(p);
	READ_ONCE(p[100]);
	kfree(p);
}

static void list_corruption(void)
{
	LIST_HEAD(head);
	LIST_HEAD(one);

	list_add(&one, &head);
	head.next = &head;
	list_del(&one);
}

static void sleeps(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
}

static void dma(void)
{
	struct pci_dev *edu = pci_get_device(0x1234, 0x11e8, NULL);

	if (!edu)
		return;
	dma_unmap_single_attrs(&edu->dev, 0x1000, 0x1000, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
	pci_dev_put(edu);
}

static void lock_order(void)
{
	static DEFINE_MUTEX(a);
	static DEFINE_MUTEX(b);

	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);
	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

/* Many, since some number on some stack may be the address of one. */
static void leak(void)
{
	int i;

	for (i = 0; i < 64; i++) {
		void *p = kmalloc(100, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
	}
}

static int raced;

static int racer(void *unused)
{
	unsigned long end = jiffies + 5 * HZ;

	while (time_before(jiffies, end)) {
		raced++;
		barrier();
		cond_resched();
	}
	return 0;
}

static void race(void)
{
	struct task_struct *other = kthread_create(racer, NULL, "racer");

	if (IS_ERR(other))
		return;
	get_task_struct(other);
	wake_up_process(other);
	racer(NULL);
	kthread_stop(other);
	put_task_struct(other);
}

static int __init faulty_init(void)
{
	static const struct {
		const char *name;
		void (*commit)(void);
	} faults[] = {
		{ "use-after-free", use_after_free },
		{ "beyond-end", beyond_end },
		{ "list-corruption", list_corruption },
		{ "sleep", sleeps },
		{ "dma", dma },
		{ "lock-order", lock_order },
		{ "leak", leak },
		{ "race", race },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (!strcmp(what, faults[i].name)) {
			faults[i].commit();
			return -ECANCELED;
		}
	}
	return -EINVAL;
}
module_init(faulty_init);

MODULE_DESCRIPTION("Commits a fault, for the kernel's instruments to see");
MODULE_LICENSE("GPL");
